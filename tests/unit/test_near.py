from streams.domain.near import MAX_COMPARED, near_names


def test_the_nearest_name_comes_first() -> None:
    assert near_names("cpu_usge", ["mem_usage", "cpu_usage", "power"])[0] == "cpu_usage"


def test_letter_case_does_not_matter() -> None:
    assert near_names("WS01", ["ws01", "jetson"]) == ["ws01"]


def test_nothing_is_near_to_something_else() -> None:
    assert near_names("zzz", ["ws01", "ws02"]) == []


def test_the_number_of_comparisons_is_bounded() -> None:
    names = (f"n{number}" for number in range(10 * MAX_COMPARED))

    near_names("x", names)

    assert next(names) == f"n{MAX_COMPARED}"
