"""Columns of a range become the rows that single questions would have given."""

from streams.domain.columns import ABSENT, Column, Places, Row, Rows

NAN = float("nan")


def column(text: str, group: str, times_ms: list[int]) -> Column:
    values = [NAN if time_ms == ABSENT else float(place) for place, time_ms in enumerate(times_ms)]
    return Column(text, group, values, times_ms, ABSENT not in times_ms)


def alone(there: Places, new: Places) -> Places:
    return new


def rows(columns: list[Column], steps: int = 3) -> list[Row]:
    return list(Rows().of(columns, steps, alone))


def test_a_step_that_sees_all_series_anew_has_them_all() -> None:
    shared = [1, 2, 3]

    found = rows([column("a", "n1", shared), column("b", "n1", shared)])

    assert [row.step for row in found] == [0, 1, 2]
    assert [row.places for row in found] == [None, None, None]
    assert [tuple(row.times_ms) for row in found] == [(1, 1), (2, 2), (3, 3)]
    assert tuple(found[2].values) == (2.0, 2.0)


def test_a_step_that_sees_the_same_samples_again_has_no_row() -> None:
    taken = Rows()

    found = list(taken.of([column("a", "n1", [1, 1, 2])], 3, alone))

    assert [row.step for row in found] == [0, 2]
    assert taken.repeated == 1


def test_a_group_with_one_new_series_is_whole() -> None:
    found = rows([column("a", "n1", [1, 1]), column("b", "n1", [1, 2]), column("c", "n2", [1, 1])], 2)

    assert found[1] == Row(1, (0, 1), [1.0, 1.0], [1, 2])


def test_a_series_that_is_not_there_is_in_no_row() -> None:
    found = rows([column("a", "n1", [1, ABSENT, 3]), column("b", "n2", [1, 2, ABSENT])])

    assert [row.places for row in found] == [(0, 1), (1,), (0,)]


def test_a_series_that_comes_back_is_new_whatever_its_time() -> None:
    assert [row.step for row in rows([column("a", "n1", [7, ABSENT, 7])])] == [0, 2]


def test_what_was_seen_is_remembered_over_the_border_of_two_ranges() -> None:
    taken = Rows()
    list(taken.of([column("a", "n1", [1, 2]), column("b", "n2", [1, 2])], 2, alone))

    found = list(taken.of([column("a", "n1", [2, 3]), column("b", "n2", [3, 3])], 2, alone))

    assert [(row.step, row.places) for row in found] == [(0, (1,)), (1, (0,))]


def test_a_series_that_was_gone_for_a_range_is_new() -> None:
    taken = Rows()
    list(taken.of([column("a", "n1", [1, 2])], 2, alone))
    list(taken.of([column("a", "n1", [ABSENT, ABSENT])], 2, alone))

    assert len(list(taken.of([column("a", "n1", [2, 2])], 2, alone))) == 1


def test_new_series_bring_along_what_they_need() -> None:
    asked = []

    def with_first(there: Places, new: Places) -> Places:
        asked.append((there, new))
        return (0, *new)

    taken = Rows()
    found = list(taken.of([column("info", "", [1, 1]), column("a", "n1", [1, 2])], 2, with_first))

    assert found[1].places == (0, 1)
    assert asked == [((0, 1), (1,))]
    assert taken.repeated == 0


def test_a_range_without_series_has_no_rows() -> None:
    assert rows([]) == []
    assert rows([column("a", "n1", [])], 0) == []
