"""What `twin ledger` found, for people and for machines."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from streams.domain.audit import Fault, Row
from streams.domain.entity import OUTCOMES

SHOWN_FAULTS = 20
"""[1] Entities that are named; what makes one differ seldom stays alone."""

ALWAYS_SHOWN = ("counted", "applied", "difference")
"""Columns that are shown even if they hold nothing but zeros."""


@dataclass
class Report:
    """What a count found."""

    rows: list[Row]
    faults: list[Fault]
    undecodable: int
    """Messages of the log that are no observations; the worker sends them to the dead letters."""
    baseline: bool
    """The beginning of the log is gone, so the records themselves were taken as the start of the count."""

    @property
    def is_balanced(self) -> bool:
        """Whether every sample was accounted for once."""
        return not self.faults and not any(row.difference for row in self.rows)

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        return {
            "balanced": self.is_balanced,
            "baseline": self.baseline,
            "undecodable": self.undecodable,
            "rows": [
                {
                    "partition": row.partition,
                    "source": row.source,
                    "counted": row.counted,
                    **dict(zip(OUTCOMES, row.outcomes, strict=True)),
                    "removed": row.removed,
                    "waiting": row.waiting,
                    "difference": row.difference,
                }
                for row in self.rows
            ],
            "faults": [
                {
                    "key": fault.key,
                    "source": fault.source,
                    "counted": fault.counted,
                    "recorded": fault.recorded,
                }
                for fault in self.faults
            ],
        }


def print_report(report: Report, save: Path | None) -> None:
    """Print a report for people; `save` is the file that the count was written to."""
    names = ("counted", *OUTCOMES, "removed", "difference", "in flight")
    rows = [
        (row, (row.counted, *row.outcomes, row.removed, row.difference, row.waiting))
        for row in sorted(report.rows, key=lambda row: (row.source, row.partition))
    ]
    sums = [sum(numbers[place] for _, numbers in rows) for place in range(len(names))]
    # Columns of nothing but zeros would only make it wide.
    shown = [place for place, name in enumerate(names) if sums[place] or name in ALWAYS_SHOWN]
    table = Table("source", Column("partition", justify="right"), box=SIMPLE_HEAD)
    for place in shown:
        table.add_column(names[place], justify="right")
    for row, numbers in rows:
        cells = [str(numbers[place]) for place in shown]
        table.add_row(row.source, str(row.partition), *cells, style="red" if row.difference else None)
    table.add_section()
    table.add_row("total", "", *[str(sums[place]) for place in shown])
    console = Console(highlight=False)
    console.print(table)
    if report.undecodable:
        console.print(f"{report.undecodable} messages are no observations: see the dead letters")
    for fault in report.faults[:SHOWN_FAULTS]:
        console.print(f"{fault.key} from {fault.source}: counted {fault.counted}, recorded {fault.recorded}")
    if len(report.faults) > SHOWN_FAULTS:
        console.print(f"… and {len(report.faults) - SHOWN_FAULTS} more")
    if report.baseline:
        console.print("The log's beginning is gone: counted from the records as they are now.")
    if save is not None:
        console.print(f"Saved. Go on with: twin ledger --checkpoint {save} --save {save}")
    console.print(
        "balanced" if report.is_balanced else "[red]not balanced[/red]: samples were lost or counted twice"
    )
