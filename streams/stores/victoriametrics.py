"""History in VictoriaMetrics: Influx line protocol in, MetricsQL and exports out.

It holds numbers: values, and statuses as `entity_state_status` (0 unknown, 1 up, 2 degraded, 3 down, -1
removed); no attributes, no reasons, no qualities. Values are rounded to 12 digits or more.

Its flags: `-retentionPeriod` says how long (a month by default; TWIN_HISTORY_RETENTION_D has no effect), and
what is older it drops without a word. With `-dedup.minScrapeInterval=1ms` a tick that was written twice
counts once, and windows are computed by the server; without, they are computed here, from all values.
Formats: https://docs.victoriametrics.com/#how-to-send-data-from-influxdb-compatible-agents-such-as-telegraf
and https://docs.victoriametrics.com/#how-to-export-data-in-json-line-format (1.79).
"""

import asyncio
import re
from collections.abc import Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any

from streams.domain.decice_fields import Fields
from streams.domain.rows import changes_of, check_places, rows_of
from streams.domain.sink import MAX_SHAPES, MAX_TAG_SETS
from streams.errors import StoreError
from streams.records import Tick
from streams.settings import Settings
from streams.stores import Refusal
from streams.stores.http import Answer, gzipped, parse_address
from streams.stores.promql.api import Found, found_in_lines, said_in, seconds
from streams.stores.promql.names import STATE_SERIES, code_of, labels_of
from streams.stores.promql.store import PromStore
from streams.stores.settling import Places, halves, settle

POSTS = 2
"""[1] Posts in flight."""

SHIFT_MS = 86_400_000
"""[ms] Windows are asked for as those of a day later, evaluated a day earlier: the server leaves out or makes
up what is nearer to its clock than `-search.latencyOffset`."""

HINTS = {404: "TWIN_HISTORY_URL must be that of a single node, or of a vmauth that knows /write and /api/v1"}
"""What to do about an HTTP status."""

_DEDUP = re.compile(r'flag\{name="dedup\.minScrapeInterval", value="([^"]*)"')
_ESCAPES = str.maketrans({"\\": "\\\\", ",": "\\,", "=": "\\=", " ": "\\ ", "\n": "\\\\n", "\r": "\\\\r"})


class VictoriaStore(PromStore):
    """Writes lines to one VictoriaMetrics, and reads them back."""

    batch_items = 5_000
    batches = POSTS + 1  # one is compressed while the others are on their way

    def __init__(self, url: str, settings: Settings, catalogue_fields: Mapping[str, tuple[str, str]]) -> None:
        super().__init__("VictoriaMetrics", url, settings, catalogue_fields, HINTS)
        self._shapes: dict[tuple[tuple[str, ...], tuple[int, ...]], tuple[str, Any]] = {}
        self._counts_once: bool | None = None

    async def prepare(self) -> None:
        """Look whether lines are taken; there is nothing to create."""
        answer = await self.api.post("/write?precision=ms", b"", {})
        if answer.status not in (200, 204):
            raise self.api.error(answer)

    def convert(self, tick: Tick) -> list[str]:
        """One line for each row, and one for each change."""
        lines: list[str] = []
        world, names = tick["world"], tuple(tick["names"])
        for kind, id, pool, tick_ms, simulated, _, values, places, _ in rows_of(tick):
            template, arguments = self._shapes.get((names, places)) or self._shape(names, places)
            row = (*values, _tags(kind, id, pool, world, simulated), tick_ms)
            lines += (template % arguments(row)).split("\n")
        for change in changes_of(tick):
            tags = _tags(change.kind, change.id, change.pool, world, change.simulated)
            lines.append(f"{tags} {STATE_SERIES}={code_of(change.status, change.removed)} {change.at_ms}")
        return lines

    def _shape(self, names: tuple[str, ...], places: tuple[int, ...]) -> tuple[str, Any]:
        """Template of a row's lines, and the getter of its arguments from values + tags + time.

        The measurement is empty: VictoriaMetrics makes one name of it and of the field, by rules that its
        flags can change; without it the name is the field.
        """
        check_places(names, places)
        groups: dict[str, list[tuple[str, int]]] = {}
        for index, place in enumerate(places):
            name, odd = self._names.series_of(names[place])
            groups.setdefault(f",metric={_escape(odd)}" if odd else "", []).append((name, index))
        lines, order = [], []
        for tag, fields in groups.items():
            parts = ",".join(f"{name}=%r" for name, _ in fields)
            lines.append(f"%s{tag.replace('%', '%%')} {parts} %d")
            order += [len(places), *(index for _, index in fields), len(places) + 1]
        if len(self._shapes) >= MAX_SHAPES:
            self._shapes.clear()
        shape = self._shapes[names, places] = ("\n".join(lines), itemgetter(*order))
        return shape

    def show(self, item: str) -> bytes:
        """The line itself."""
        return item.encode()

    async def write(self, items: list[str]) -> list[Refusal]:
        """Post the lines; return those that are too long.

        All others are taken: one that cannot be read, or is older than the retention, is left out without a
        word.
        """
        return await settle(
            list(range(len(items))), lambda places: self._post([items[place] for place in places]), _judge
        )

    async def _post(self, lines: list[str]) -> Answer | None:
        body = await asyncio.to_thread(gzipped, "\n".join(lines))
        answer = await self.api.post("/write?precision=ms", body, {"Content-Encoding": "gzip"})
        if answer.status in (200, 204):
            return None
        # A line beyond -influx.maxLineSize, or a post that is too large for a proxy.
        if answer.status == 413 or (answer.status == 400 and "too long line" in said_in(answer)):
            return answer
        raise self.api.error(answer)

    async def raw(self, series: str, start_ms: int, end_ms: int) -> list[Found]:
        """Values of the series that a selector names, start <= time < end, from an export."""
        form = {"match[]": series, "start": seconds(start_ms), "end": seconds(end_ms - 1)}
        return found_in_lines((await self.api.fetch("/api/v1/export", form)).body)

    async def range_of(self, length_ms: int) -> tuple[str, int]:
        """A range does not hold its first moment."""
        return f"[{length_ms}ms] offset -{SHIFT_MS}ms", SHIFT_MS

    async def counts_once(self) -> bool:
        """Whether the server was told to leave out what was written twice."""
        if self._counts_once is None:
            try:
                answer = await self.api.fetch("/metrics", {}, get=True)
            except StoreError:
                return False
            found = _DEDUP.search(answer.body.decode(errors="replace"))
            self._counts_once = bool(found and found[1] in ("1ms", "0.001s"))
        return self._counts_once


@lru_cache(MAX_TAG_SETS)
def _tags(kind: str, id: str, pool: str, world: str, simulated: bool) -> str:
    labels = labels_of(kind, id, pool, world, simulated)
    return "".join(f",{_escape(label)}={_escape(value)}" for label, value in sorted(labels.items()))


def _escape(text: str) -> str:
    # Here, unlike in InfluxDB, a backslash can be escaped; a line break cannot.
    return text.translate(_ESCAPES)


def _judge(answer: Answer, places: Places) -> tuple[list[Refusal], list[Places]]:
    if len(places) > 1:
        return [], halves(places)
    error = f"VictoriaMetrics: HTTP {answer.status}: {said_in(answer)}"
    return [Refusal(places[0], "too_large", error)], []


def from_settings(
    settings: Settings, catalogue_fields: Mapping[str, tuple[str, str]], _decice: Fields | None = None
) -> VictoriaStore:
    """The store that TWIN_HISTORY_URL names.

    Raises:
        SettingsError: the URL, or what belongs to it, cannot be used.
    """
    url = parse_address(settings.history_url or "", "victoriametrics")
    return VictoriaStore(url, settings, catalogue_fields)
