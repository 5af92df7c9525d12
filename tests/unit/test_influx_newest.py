"""The newest tick of each entity from tables of values, without a server."""

from typing import Any

from streams.domain.sink import marks_of
from streams.stores import PastTick, Selection
from streams.stores.influx.answers import tables_of
from streams.stores.influx.newest import Newest
from streams.stores.influx.rows import Names, Rows

FIELDS = {"cpu_usage_percent": ("cpu_usage", "cpu_usage_percent")}
TYPES = ["#datatype", "string", "long", "dateTime:RFC3339", "double", *["string"] * 5]
HEAD = [
    "",
    "result",
    "table",
    "_time",
    "_value",
    "_field",
    "_measurement",
    "node_id",
    "nodepool_id",
    "simulated",
]


def row(second: int, measurement: str, field: str, value: Any, id: str = "a") -> list[str]:
    """A row of an answer."""
    at = f"1970-01-01T00:00:{second:02}Z"
    return ["", "_result", "0", at, str(value), field, measurement, id, "1", "false"]


def newest(*answers: list[list[str]], selection: Selection = Selection(0, 60_000)) -> list[PastTick]:  # noqa: B008  # it cannot be changed
    """What is found in some answers."""
    found = Newest(Rows(selection), Names(FIELDS))
    for rows in answers:
        text = "".join(",".join(line) + "\r\n" for line in (TYPES, HEAD, *rows))
        found.add(tables_of(text))
    return found.ticks()


def marks(qualities: str, complete: bool = True) -> list[str]:
    """The numbers that hold the qualities."""
    return [part.partition("=")[2] for part in marks_of(qualities, complete).split(",")[1:]]


def tick(second: int, values: dict[str, float], qualities: list[int] | None, **more: Any) -> PastTick:
    """A tick of node a, complete unless it has no qualities."""
    fields: dict[str, Any] = {"complete": None if qualities is None else True, **more}
    return PastTick(
        "node",
        "a",
        "1",
        False,
        second * 1000,
        names=list(values),
        values=list(values.values()),
        qualities=qualities,
        **fields,
    )


def test_values_of_the_newest_time_are_the_tick_whatever_answer_they_are_in() -> None:
    (mark,) = marks("12")
    first = [row(5, "cpu_usage", "cpu_usage_percent", 1), row(5, "cpu_usage", "tick_quality", mark)]
    second = [row(5, "other", "beard_cm", 2.5), row(0, "other", "gone", 7)]

    expected = tick(5, {"beard_cm": 2.5, "cpu_usage_percent": 1.0}, [1, 2])
    assert newest(first, second) == newest(second, first) == [expected]


def test_qualities_of_many_values_are_put_together_in_their_order() -> None:
    names = [f"m{number:03}" for number in range(260)]
    qualities = [number % 3 for number in range(260)]
    numbers = marks("".join(map(str, qualities)))
    rows = [row(5, "other", name, 1) for name in names]
    rows += [
        row(5, "other", f"tick_quality_{place}" if place > 1 else "tick_quality", number)
        for place, number in reversed(list(enumerate(numbers, start=1)))
    ]

    assert newest(rows) == [tick(5, dict.fromkeys(names, 1.0), qualities)]


def test_a_tick_whose_qualities_do_not_fit_has_none() -> None:
    (mark,) = marks("12")
    alone = [row(5, "other", "load1", 1)]

    assert newest(alone) == [tick(5, {"load1": 1.0}, None)]
    assert newest([*alone, row(5, "other", "tick_quality", mark)]) == [
        tick(5, {"load1": 1.0}, None, complete=True)
    ]
    assert newest([*alone, row(5, "other", "tick_quality", 0.5)]) == [tick(5, {"load1": 1.0}, None)]


def test_what_the_twin_did_not_write_is_no_tick() -> None:
    assert newest([row(5, "node", "cpu", 1)]) == []
    assert newest([row(5, "other", "load1", 1)], selection=Selection(0, 60_000, ids=("b",))) == []
