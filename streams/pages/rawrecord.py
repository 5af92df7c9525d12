"""The record of an entity as it is, to be read and copied."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from streams.pages.units import number_text
from streams.web.problems import ProblemError

COPY = """() => {
  const element = document.getElementById("%s");
  const range = document.createRange();
  range.selectNodeContents(element);
  const chosen = getSelection();
  chosen.removeAllRanges();
  chosen.addRange(range);
  if (navigator.clipboard) navigator.clipboard.writeText(element.textContent);
  else document.execCommand("copy");
}"""
"""Selects the record and copies it, also where there is no secure connection; says it by the selection."""


class RawPanel:
    """Is read when it is opened, and when it is asked for again: it does not change under the reader's eyes.

    Args:
        read: gives the record.
    """

    def __init__(self, read: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._read = read
        with ui.expansion("Raw record").classes("twin-panel ent-expansion ent-raw").props("dense") as panel:
            with ui.row().classes("ent-raw-tools"):
                self._note = ui.label().classes("twin-muted")
                ui.button("Read again", icon="refresh", on_click=self._show).props("flat dense no-caps")
                copy = ui.button("Copy", icon="content_copy").props("flat dense no-caps")
            self._text = ui.label().classes("twin-mono")
            copy.on("click", js_handler=COPY % self._text.html_id)
        panel.on_value_change(self._opened)

    async def _opened(self, change: Any) -> None:
        if change.value:
            await self._show()

    async def _show(self) -> None:
        try:
            record = await self._read()
        except ProblemError as error:
            self._note.set_text(str(error))
            return
        text = json.dumps(record, indent=2, ensure_ascii=False)
        self._text.set_text(text)
        self._note.set_text(f"version {record['version']:,}, {number_text(len(text.encode()))} bytes")
