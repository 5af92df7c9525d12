"""Which lines of a role's log reach the terminal."""

import json
from pathlib import Path

import pytest

from streams.embedded.rolelog import MAX_LINES, WINDOW_S, RoleLog, notable, readable


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{"level": "warning", "event": "late", "target": "a:1", "timestamp": "t", "logger": "x"}', True),
        ('{"level": "error", "event": "broken"}', True),
        ('{"level": "info", "event": "started"}', False),
        ("Error: TWIN_PARTITIONS: must be a number", True),
        ("[2026-01-01] [12] [ERROR] from a library", True),
        ("a line of a banner", False),
        ("{not json", False),
        ('["level", "error"]', False),
    ],
)
def test_warnings_and_errors_are_shown(line: str, shown: bool) -> None:
    assert (notable(line) is not None) is shown


def test_json_line_is_made_readable_with_the_last_line_of_its_exception() -> None:
    line = json.dumps(
        {
            "level": "error",
            "event": "no",
            "n": 3,
            "timestamp": "t",
            "exception": "Traceback\n  x\nValueError: y",
        }
    )

    assert readable(line) == "error: no n=3 (ValueError: y)"


def test_news_are_whole_lines_once(tmp_path: Path) -> None:
    log = RoleLog(tmp_path / "sink.log")
    with log.open() as file:
        file.write(b"Error: one\nError: tw")
        file.flush()
        first = list(log.news())
        file.write(b"o\n")
    second = list(log.news())
    third = list(log.news())

    assert (first, second, third) == (["Error: one"], ["Error: two"], [])


def test_flood_is_cut_and_shown_again_later(tmp_path: Path) -> None:
    now = [0.0]
    log = RoleLog(tmp_path / "sink.log", clock=lambda: now[0])
    with log.open() as file:
        file.write(b"Error: x\n" * 100)
    flood = list(log.news())
    now[0] = WINDOW_S + 1
    with log.open() as file:
        file.write(b"Error: y\n")

    assert len(flood) == MAX_LINES + 1
    assert str(log.path) in flood[-1]
    assert list(log.news()) == ["Error: y"]


def test_tail_is_the_last_lines_that_are_not_empty(tmp_path: Path) -> None:
    log = RoleLog(tmp_path / "sink.log")
    with log.open() as file:
        file.write(b"".join(b"line %d\n\n" % number for number in range(20_000)))

    assert log.tail(2) == ["line 19998", "line 19999"]
    assert len(log.tail()) == 15


def test_file_of_the_run_before_is_kept(tmp_path: Path) -> None:
    (tmp_path / "sink.log").write_text("before\n")

    log = RoleLog(tmp_path / "sink.log")

    assert log.tail() == []
    assert (tmp_path / "sink.log.1").read_text() == "before\n"
