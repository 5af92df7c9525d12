"""History in Prometheus: remote write in, PromQL out.

It must run with `--web.enable-remote-write-receiver`. It holds numbers: values, and statuses as
`entity_state_status` (0 unknown, 1 up, 2 degraded, 3 down, -1 removed); no attributes, no reasons, no
qualities. `--storage.tsdb.retention.time` says how long (15 days by default; TWIN_HISTORY_RETENTION_D has no
effect). A sample must not be older than the newest of its series, nor an hour older than the newest of all;
with `storage.tsdb.out_of_order_time_window` in its configuration it may be as much older. Nor may it be ahead
of the clock. What was written once cannot be changed. So worlds with times of their own, and imports of the
past, need another store.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import compress
from math import isfinite

import cramjam

from streams.domain.decice_fields import Fields
from streams.domain.sink import check_columns
from streams.errors import InvalidMessageError
from streams.records import Tick
from streams.settings import Settings
from streams.stores import WINDOW_FUNCTIONS, PastChange, PastTick, Refusal, Selection, Series, Window
from streams.stores.promapi import Answer, Found, PromApi, found_of, parse_address, seconds
from streams.stores.promql import STATE_SERIES, SeriesNames, code_of, labels_of
from streams.stores.promread import PromReader
from streams.stores.promrefused import write_all
from streams.stores.remotewrite import Sample, decode_labels, encode_labels, encode_request

MAX_SERIES = 200_000
"""[1] Series whose labels are remembered as encoded, about 300 B each."""

HINTS = {
    404: "start Prometheus with --web.enable-remote-write-receiver, and look at the path in TWIN_HISTORY_URL"
}
"""What to do about an HTTP status."""

HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
"""What a remote write says of itself."""

ABOUT_SAMPLES = re.compile(
    r"out of order|out of bounds|out-of-order|too old|too far in|duplicate|label|metric|series|sample",
    re.IGNORECASE,
)
"""In the text of an answer that is about what was posted, and not from a proxy."""

TOO_OLD = ("too old sample", "out of bounds", "out of order sample", "duplicate sample")
"""Beginnings of such answers that Prometheus 2.42 may give with HTTP 500, as if it were at fault."""

MAX_AHEAD_MS = 600_000
"""[ms] Later samples are not sent: Prometheus 2 would take them, and refuse all that is of today."""

CLOSED = "count_over_time(vector(1)[1ms:1ms])"
"""2 where a range holds its first moment (Prometheus 2), 1 where it does not (3)."""

Owner = tuple[str, str, str, str, bool]
"""Kind, id, nodepool, world and whether it is simulated."""


class PrometheusStore:
    """Writes samples to one Prometheus, in order, and reads them back."""

    batch_items = 20_000
    batches = 1  # what is on its way twice arrives out of order
    holds: frozenset[str] = frozenset()
    functions = frozenset(WINDOW_FUNCTIONS)
    coarse_ms: int | None = None

    def __init__(
        self,
        url: str,
        settings: Settings,
        catalogue_fields: Mapping[str, tuple[str, str]],
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.api = PromApi("Prometheus", url, settings, HINTS)
        self.label = self.api.name
        self._names = SeriesNames(catalogue_fields)
        self._reader = PromReader(self, catalogue_fields)
        self._series: dict[Owner, dict[str, bytes]] = {}
        self._remembered = 0
        self._is_closed: bool | None = None
        self._wall_s = wall_s

    async def prepare(self) -> None:
        """Look whether samples are taken; there is nothing to create."""
        await self._post([])

    def convert(self, tick: Tick) -> list[Sample]:
        """One sample for each value, and one for each change."""
        check_columns(tick)
        samples: list[Sample] = []
        world, names, end = tick["world"], tick["names"], 0
        if tick["metrics"] and not 0 <= min(tick["metrics"]) <= max(tick["metrics"]) < len(names):
            raise InvalidMessageError("columns", f"metrics points beyond the {len(names)} names")
        metrics = [names[place] for place in tick["metrics"]]
        finite = isfinite(sum(tick["values"]))
        for kind, id, pool, tick_ms, simulated, size in zip(
            tick["kinds"],
            tick["ids"],
            tick["pools"],
            tick["ticks_ms"],
            tick["simulated"],
            tick["sizes"],
            strict=True,
        ):
            start, end = end, end + size
            row, values = metrics[start:end], tick["values"][start:end]
            if not finite:
                good = [isfinite(value) for value in values]
                row, values = list(compress(row, good)), list(compress(values, good))
            owner = (kind, id, pool, world, simulated)
            series = self._series.get(owner) or {}
            samples += [
                Sample(series.get(metric) or self._encode(owner, metric), tick_ms, value)
                for metric, value in zip(row, values, strict=True)
            ]
        for kind, id, pool, at_ms, simulated, status, removed in zip(
            tick["change_kinds"],
            tick["change_ids"],
            tick["change_pools"],
            tick["change_at_ms"],
            tick["change_simulated"],
            tick["change_statuses"],
            tick["change_removed"],
            strict=True,
        ):
            labels = labels_of(kind, id, pool, world, simulated) | {"__name__": STATE_SERIES}
            samples.append(Sample(encode_labels(labels), at_ms, float(code_of(status, removed))))
        return samples

    def _encode(self, owner: Owner, metric: str) -> bytes:
        name, odd = self._names.series_of(metric)
        labels = labels_of(*owner) | {"__name__": name} | ({"metric": odd} if odd else {})
        if self._remembered >= MAX_SERIES:
            self._series.clear()
            self._remembered = 0
        self._remembered += 1
        series = self._series.setdefault(owner, {})[metric] = encode_labels(labels)
        return series

    def show(self, item: Sample) -> bytes:
        """The sample in Prometheus' text format."""
        labels = decode_labels(item.series)
        name = labels.pop("__name__", "")
        return f"{name}{labels} {item.value!r} {item.at_ms}".encode()

    async def write(self, items: list[Sample]) -> list[Refusal]:
        """Post the samples in order of time; return those that Prometheus will never take."""
        latest_ms = self._wall_s() * 1000 + MAX_AHEAD_MS
        early = [place for place, item in enumerate(items) if item.at_ms > latest_ms]
        if not early:
            return await write_all(items, self._post, self.raw)
        places = [place for place, item in enumerate(items) if item.at_ms <= latest_ms]
        refused = await write_all([items[place] for place in places], self._post, self.raw)
        text = f"not sent: more than {MAX_AHEAD_MS // 60_000} minutes ahead of this machine's clock"
        refusals = [Refusal(place, "in_the_future", text) for place in early]
        refusals += [replace(refusal, index=places[refusal.index]) for refusal in refused]
        return sorted(refusals, key=lambda refusal: refusal.index)

    async def _post(self, samples: list[Sample]) -> Answer | None:
        body = await asyncio.to_thread(_compress, samples)
        answer = await self.api.post("/api/v1/write", body, HEADERS)
        if answer.status in (200, 202, 204):
            return None
        if samples and (
            answer.status == 413
            or (answer.status in (400, 409, 422) and ABOUT_SAMPLES.search(answer.text))
            or (answer.status == 500 and answer.text.startswith(TOO_OLD))
        ):
            return answer
        raise self.api.error(answer)

    async def read(self, selection: Selection, window: Window | None = None) -> list[Series]:
        """Values, or windows of them."""
        return await self._reader.read(selection, window)

    async def read_ticks(self, selection: Selection) -> list[PastTick]:
        """The newest tick of each entity, without qualities."""
        return await self._reader.read_ticks(selection)

    async def read_changes(self, selection: Selection, *, newest: bool) -> list[PastChange]:
        """Changes of status and removals, without text."""
        return await self._reader.read_changes(selection, newest=newest)

    async def raw(self, series: str, start_ms: int, end_ms: int) -> list[Found]:
        """Values of the series that a selector names, start <= time < end."""
        # One that begins a moment too early is right with both kinds of ranges.
        form = {"query": f"{series}[{end_ms - start_ms}ms]", "time": seconds(end_ms - 1)}
        found = found_of(await self.api.ask("/api/v1/query", form))
        for each in found:
            if each.times_ms and each.times_ms[0] < start_ms:
                del each.times_ms[0], each.values[0]
        return found

    async def range_of(self, length_ms: int) -> tuple[str, int]:
        """A range of Prometheus 2 holds its first moment, one of Prometheus 3 does not."""
        if self._is_closed is None:
            data = await self.api.ask("/api/v1/query", {"query": CLOSED})
            self._is_closed = [each["value"][1] for each in data["result"]] == ["2"]
        return f"[{length_ms - self._is_closed}ms]", 0

    async def counts_once(self) -> bool:
        """A series has one value at a time."""
        return True

    async def close(self) -> None:
        """Close the connections."""
        await self.api.close()


def _compress(samples: list[Sample]) -> bytes:
    return bytes(cramjam.snappy.compress_raw(encode_request(samples)))


def from_settings(
    settings: Settings, catalogue_fields: Mapping[str, tuple[str, str]], _decice: Fields | None = None
) -> PrometheusStore:
    """The store that TWIN_HISTORY_URL names.

    Raises:
        SettingsError: the URL, or what belongs to it, cannot be used.
    """
    return PrometheusStore(
        parse_address(settings.history_url or "", "prometheus"), settings, catalogue_fields
    )
