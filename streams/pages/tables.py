"""Tables that are filled again and again without losing the place where somebody reads."""

from collections.abc import Iterable
from typing import Any

from nicegui import ui

PAGE_ROWS = 25
"""[1] Rows of one page of a table."""


def table(
    columns: Iterable[tuple[str, str, str]], key: str, empty: str, *, selection: Any = None
) -> ui.table:
    """A table of text.

    Args:
        columns: name, title and side of each.
        key: the column that tells rows apart.
        empty: what stands there when there are no rows.
        selection: none, single or multiple.
    """
    made = ui.table(
        columns=[
            {"name": name, "label": label, "field": name, "align": align} for name, label, align in columns
        ],
        rows=[],
        row_key=key,
        selection=selection,
        pagination={"rowsPerPage": PAGE_ROWS},
    )
    made.props(f'dense flat :rows-per-page-options="[10, 25, 100, 0]" no-data-label="{empty}"')
    made.props('table-class="pipe-table"')
    made.classes("full-width")
    return made


def show_rows(shown: ui.table, rows: list[dict[str, Any]]) -> None:
    """Show other rows; nothing is sent to the browser when they are the same."""
    if rows != shown.rows:
        shown.rows = rows
        # A single page needs no pager below it.
        shown.props(f"{'hide-pagination' if len(rows) <= 10 else ':hide-pagination=false'}")
        shown.update()
