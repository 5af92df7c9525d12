"""What `twin backfill` shows while it runs and when it is done."""

import sys
import time
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from streams.tools.figures import format_moment

LINE_S = 5.0
"""[s] Between two lines where there is no terminal."""


class Progress:
    """A bar on a terminal, else a line now and then; on the standard error."""

    def __init__(self, from_ms: int, to_ms: int) -> None:
        self._from_ms, self._to_ms = from_ms, to_ms
        self._started_s = self._line_s = time.monotonic()
        self._bar: Bar | None = None
        if sys.stderr.isatty():
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("warming up", total=to_ms - from_ms)
            self._bar.start()

    def show(self, time_ms: int, samples: int, trouble: str) -> None:
        """How far it has come [ms since the epoch], with so many samples; `trouble` is the store's."""
        done_ms = min(max(0, time_ms - self._from_ms), self._to_ms - self._from_ms)
        now_s = time.monotonic()
        rate = samples / max(1e-9, now_s - self._started_s)
        moment = format_moment(min(time_ms, self._to_ms))
        text = f"{moment}Z  {samples:,} samples  {rate:,.0f}/s" + (f"  {trouble[:80]}" if trouble else "")
        if self._bar is not None:
            self._bar.update(self._task, description=text, completed=done_ms)
        elif now_s - self._line_s >= LINE_S:
            self._line_s = now_s
            click.echo(f"{text}  {100 * done_ms // (self._to_ms - self._from_ms)} %", err=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()


def show_result(document: dict[str, Any]) -> None:
    """The document of a result as a table."""
    table = Table("backfill", "", show_header=False)
    rows = [
        ("samples read", "samples_read"),
        ("samples mapped", "samples_mapped"),
        ("closed ticks written", "ticks"),
        ("values in them", "values"),
        ("changes written", "changes"),
        ("samples/s", "samples_per_s"),
    ]
    for text, name in rows:
        table.add_row(text, f"{document[name]:,}")
    table.add_row("seconds", f"{document['seconds']:.1f}")
    for reason, count in document["samples_skipped"].items():
        table.add_row(f"skipped: {reason}", f"{count:,}")
    for reason, count in document["refused_by_store"].items():
        table.add_row(f"refused by the store: {reason}", f"{count:,}")
    for query, why in document["refused_queries"].items():
        table.add_row(f"query refused: {query}", why[:100])
    Console().print(table)
    if not document["samples_read"]:
        click.echo("the server has no samples in this range that a rule pack asks for", err=True)
