"""`twin backfill`: what it refuses before it asks anybody, and what it says at the end."""

import pytest
from click.testing import CliRunner

from streams.domain.backfill import Tally, overrun_ms
from streams.settings import load_settings
from streams.tools.backfill import Result, backfill
from streams.tools.backfillchild import Advanced
from streams.tools.backfillprogress import Progress, show_result


def refused(*arguments: str, **settings: object) -> str:
    run = CliRunner().invoke(
        backfill, arguments, obj=load_settings(history_url="duckdb:///nowhere/h.duckdb", **settings)
    )
    assert run.exit_code == 2, run.output
    return run.output


@pytest.mark.parametrize("url", ["p:9090", "ftp://p:9090", "http://", "http://[", ""])
def test_a_bad_url_is_refused(url: str) -> None:
    assert "--prometheus" in refused("--prometheus", url, "--from", "-1h")


@pytest.mark.parametrize(
    ("first", "last", "text"),
    [
        ("-1h", "-2h", "is not before --to"),
        ("-1h", "-1h", "is not before --to"),
        ("-1h", "2999-01-01T00:00:00Z", "lies in the future"),
        ("yesterday", "now", "is no moment"),
        ("2026-11-01T00:00:00", "now", "has no zone"),
        ("-30d", "now", "before what the store keeps, 7 days"),
    ],
)
def test_a_range_that_cannot_be_is_refused(first: str, last: str, text: str) -> None:
    output = refused("--prometheus", "http://p:9090", "--from", first, "--to", last)

    assert text in " ".join(output.replace("│", " ").split())


@pytest.mark.parametrize("step", ["0s", "5", "1M"])
def test_a_step_that_is_none_is_refused(step: str) -> None:
    assert "--step" in refused("--prometheus", "http://p:9090", "--from", "-1h", "--step", step)


def test_a_store_that_keeps_all_takes_any_past() -> None:
    output = refused(
        "--prometheus", "http://p:9090", "--from", "-900d", "--to", "-901d", history_retention_d=0
    )

    assert "is not before" in output


def test_skipped_samples_are_added_up_by_reason() -> None:
    tally = Tally(mapped=8, ticks=2, skipped={"late": 1, "nan": 2})
    result = Result(Advanced(0, tally=tally), 12, {"nan": 1}, seconds=2.0)

    document = result.document()

    assert document["samples_skipped"] == {"late": 1, "nan": 3}
    assert (document["samples_read"], document["samples_mapped"], document["ticks"]) == (12, 8, 2)
    assert document["samples_per_s"] == 6


def test_a_result_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    result = Result(Advanced(0), 0, {}, {"lab q": "HTTP 422"}, {"partial": 3})

    show_result(result.document())

    shown = capsys.readouterr()
    assert "refused by the store: partial" in shown.out
    assert "query refused: lab q" in shown.out
    assert "no samples in this range" in shown.err


def test_without_a_terminal_progress_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.tools.backfillprogress.LINE_S", 0.0)
    progress = Progress(0, 100_000)

    progress.show(50_000, 1_000, "away")
    progress.close()

    line = capsys.readouterr().err
    assert "1970-01-01 00:00:50Z  1,000 samples" in line
    assert "away  50 %" in line


def test_the_range_is_overrun_by_more_than_a_tick_can_wait() -> None:
    assert overrun_ms(5_000) == 70_000
