"""Dead letters on the page of the pipeline: listed, looked into, sent again after a dry run."""

from typing import Any

from nicegui import ui

from streams.encoding import encode_json
from streams.pages.asking import post
from streams.pages.pipelinerows import letter_rows
from streams.pages.shell import View
from streams.pages.tables import show_rows, table
from streams.pages.units import moment_words
from streams.web.deadletters.models import LettersQuery
from streams.web.deadletters.routes import desk_of
from streams.web.problems import ProblemError

REDRIVE = "/twin/v1/deadletters/redrive"

PAGE = 100
"""[1] Letters that are fetched at once."""

KEPT = 1_000
"""[1] Letters in the page; a filter finds older ones."""

SHOWN_TEXT = 200_000
"""[1] Characters of a decoded message that are shown; the API has all of them."""

STAGES = {"": "any stage", **{name: name for name in ("collect", "harmonize", "twin", "sink")}}

SPANS = {"": "of 14 days", "-10m": "of 10 min", "-1h": "of 1 h", "-24h": "of 24 h"}

COLUMNS = (
    ("key", "Letter", "left"),
    ("at", "Refused, UTC", "left"),
    ("stage", "Stage", "left"),
    ("reason", "Reason", "left"),
    ("from", "From", "left"),
    ("bytes", "Bytes", "right"),
    ("error", "Error", "left"),
)

OUTCOMES = (
    ("letter", "Letter", "left"),
    ("to", "Goes to", "left"),
    ("redriven", "Times", "right"),
    ("result", "", "left"),
)

Document = dict[str, Any]


class Letters:
    """The panel; for who may not see letters it says so."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._letters: dict[str, Document] = {}
        self._cursor: str | None = None
        self._end: int | None = None
        with ui.element("div").classes("twin-panel pipe-wide pipe-long") as self._panel:
            ui.label("Dead letters").classes("twin-h2")
            try:
                desk_of(view.request)
                self._may = view.principal.may("admin")
            except ProblemError:
                self._may = False
            if not self._may:
                ui.label(
                    "What a stage could not take, with its bytes, is shown to keys with the scope admin that"
                    " see all worlds and kinds."
                ).classes("twin-muted")
                return
            self._build_filters()
            self._build_table()

    def _build_filters(self) -> None:
        with ui.row().classes("pipe-head"):
            self._stage = ui.select(STAGES, value="", on_change=self.reload)
            self._reason = ui.input(placeholder="Reason", on_change=self.reload)
            self._text = ui.input(placeholder="Text in error, key or bytes", on_change=self.reload)
            self._span = ui.select(SPANS, value="", on_change=self.reload)
            for field, label in (
                (self._stage, "Stage"),
                (self._reason, "Reason"),
                (self._text, "Text"),
                (self._span, "Time"),
            ):
                field.props(f'dense outlined options-dense debounce=400 aria-label="{label} of dead letters"')
            ui.space()
            self._note = ui.label().classes("twin-muted")
            self._send = ui.button("Send again …", icon="replay", on_click=self._plan)
            self._send.props("dense no-caps unelevated").set_enabled(False)

    def _build_table(self) -> None:
        self._table = table(COLUMNS, "key", "They were not read yet", selection="multiple")
        self._table.classes("pipe-click pipe-letters")
        self._table.on("row-click", lambda event: self._open(event.args[1]["key"]))
        self._table.on_select(lambda _: self._mark())
        self._older = ui.button("Older ones", icon="expand_more", on_click=self._more)
        self._older.props("flat dense no-caps").set_visibility(False)

    async def follow(self, end: int | None) -> None:
        """Look again when there may be new letters.

        Args:
            end: [1] sum of the end offsets of their topic; None: not known.
        """
        if self._may and end is not None and end != self._end:
            self._end = end
            await self._fetch(None)

    async def reload(self) -> None:
        """Begin anew with another filter."""
        self._letters.clear()
        self._table.selected = []
        self._cursor = None
        await self._fetch(None, is_first=True)

    async def _more(self) -> None:
        await self._fetch(self._cursor)

    def _query(self, cursor: str | None) -> LettersQuery:
        return LettersQuery(
            stage=self._stage.value or "",
            reason=(self._reason.value or "").strip()[:100],
            text=(self._text.value or "")[:200],
            since=self._span.value or None,
            cursor=cursor,
            limit=PAGE,
        )

    async def _fetch(self, cursor: str | None, *, is_first: bool = False) -> None:
        query = self._query(cursor)
        try:
            page = await desk_of(self._view.request).page(query)
        except ProblemError as error:
            self._note.set_text(str(error))
            self._end = None  # tries again at the next look
            return
        if query != self._query(cursor):
            return  # the filter was changed meanwhile
        self._table.props('no-data-label="There are none"')
        found = {f"{each['partition']}:{each['offset']}": each for each in page["letters"]}
        if cursor is None and not found.keys() & self._letters.keys():
            # The first ones, or so many new ones that those between are not known: older ones follow.
            self._letters.clear()
            is_first = True
        self._letters |= found
        if cursor is not None or is_first:
            self._cursor = page["cursor"]
        self._show()

    def _show(self) -> None:
        order = sorted(
            self._letters.values(),
            key=lambda each: (each["at_ms"], each["partition"], each["offset"]),
            reverse=True,
        )[:KEPT]
        show_rows(self._table, letter_rows(order))
        self._table.update()
        self._older.set_visibility(self._cursor is not None and len(order) < KEPT)
        count = f"{len(order):,}" + (" newest" if self._cursor else "")
        self._note.set_text(f"{count} shown" if order else "")
        self._mark()

    def _mark(self) -> None:
        chosen = len(self._table.selected)
        self._send.set_text(f"Send {chosen:,} again …" if chosen else "Send again …")
        self._send.set_enabled(chosen > 0)

    async def _open(self, key: str) -> None:
        partition, _, offset = key.partition(":")
        try:
            letter = await desk_of(self._view.request).show(int(partition), int(offset))
        except ProblemError as error:
            ui.notify(str(error), type="warning")
            return
        with ui.dialog() as dialog, ui.card().classes("twin-dialog pipe-dialog pipe-long"):
            _show_letter(letter)
            with ui.row().classes("pipe-head"):

                async def again() -> None:
                    dialog.close()
                    with self._panel:  # the dialog, where this runs, goes meanwhile
                        await self._ask([key])

                send = ui.button("Send again …", icon="replay", on_click=again)
                send.props("dense no-caps unelevated").set_enabled(letter["refusal"] is None)
                ui.space()
                ui.button("Close", on_click=dialog.close).props("flat dense no-caps")
        dialog.on("hide", dialog.delete)
        dialog.open()

    async def _plan(self) -> None:
        await self._ask([row["key"] for row in self._table.selected])

    async def _ask(self, keys: list[str]) -> None:
        """Say what would be sent again; a second click sends it."""
        status, dry = await post(REDRIVE, {"letters": keys, "dry_run": True})
        if status != 200:
            ui.notify(str(dry.get("detail", status)), type="negative")
            return
        with ui.dialog() as dialog, ui.card().classes("twin-dialog pipe-dialog pipe-long"):
            title = ui.label(_count(dry, "would be sent again")).classes("twin-h2")
            shown = table(OUTCOMES, "letter", "Nothing")
            show_rows(shown, _outcome_rows(dry))
            ui.label(
                "The originals go, with their key, to where they came from. What the twin has taken since may"
                " make it ignore them or count them as late: docs/operations.md, Dead letters."
            ).classes("twin-muted pipe-note")

            async def send() -> None:
                button.set_enabled(False)
                status, done = await post(REDRIVE, {"letters": keys})
                if status != 200:
                    title.set_text(str(done.get("detail", status)))
                    button.set_enabled(True)
                    return
                title.set_text(_count(done, "sent again"))
                show_rows(shown, _outcome_rows(done))
                button.set_visibility(False)
                self._table.selected = []
                self._mark()

            with ui.row().classes("pipe-head"):
                button = ui.button(f"Send {dry['sent']:,} again", icon="replay", on_click=send)
                button.props("dense no-caps unelevated").set_enabled(dry["sent"] > 0)
                ui.space()
                ui.button("Close", on_click=dialog.close).props("flat dense no-caps")
        dialog.on("hide", dialog.delete)
        dialog.open()


def _show_letter(letter: Document) -> None:
    key = f"{letter['partition']}:{letter['offset']}"
    ui.label(f"{letter['reason']} · {key}").classes("twin-h2")
    ui.label(letter["error"]).classes("pipe-error")
    facts = (
        ("refused", f"{moment_words(letter['at_ms'])} UTC by {letter['stage'] or 'nobody that is known'}"),
        ("from", f"{letter['topic']}, partition {letter['origin_partition']} at {letter['origin_offset']}"),
        ("key", letter["key"] or "none"),
        ("bytes", f"{letter['bytes']:,}" + (", cut" if letter["cut"] else "")),
        ("schema id", "none" if letter["schema_id"] is None else str(letter["schema_id"])),
        ("sent again", f"{letter['redriven']}× before" if letter["redriven"] else "never before"),
    )
    with ui.element("dl").classes("pipe-facts"):
        for name, value in facts:
            with ui.element("dt"):
                ui.label(name)
            with ui.element("dd"):
                ui.label(value)
    if letter["refusal"]:
        ui.label(f"It cannot be sent again: {letter['refusal']}").classes("twin-muted")
    with ui.tabs().props("dense no-caps align=left") as tabs:
        decoded = ui.tab("decoded", label="What it says")
        dump = ui.tab("bytes", label="Bytes")
    with ui.tab_panels(tabs, value=decoded).classes("pipe-panels"):
        with ui.tab_panel(decoded):
            if letter["decoded_as"]:
                text = encode_json(letter["decoded"], indent=2).decode()
                ui.label(text[:SHOWN_TEXT]).classes("twin-mono")
            if letter["decode_error"]:
                ui.label(f"It does not decode: {letter['decode_error']}").classes("twin-muted")
        with ui.tab_panel(dump):
            ui.label(letter["value_hex"] or "There are none").classes("twin-mono pipe-dump")


def _outcome_rows(answer: Document) -> list[Document]:
    return [
        {
            "letter": each["letter"],
            "to": "" if each["topic"] is None else f"{each['topic']}, partition {each['partition']}",
            "redriven": f"{each['redriven']}×" if each["refusal"] is None else "",
            "result": each["refusal"]
            or (f"is at {each['offset']}" if each["offset"] is not None else "ready"),
        }
        for each in answer["letters"]
    ]


def _count(answer: Document, what: str) -> str:
    refused = f", {answer['refused']:,} not" if answer["refused"] else ""
    return f"{answer['sent']:,} {what}{refused}"
