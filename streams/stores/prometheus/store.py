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

import cramjam

from streams.domain.decice_fields import Fields
from streams.domain.rows import changes_of, check_places, rows_of
from streams.records import Tick
from streams.settings import Settings
from streams.stores import Refusal
from streams.stores.http import Answer, parse_address
from streams.stores.prometheus.refused import write_all
from streams.stores.prometheus.remotewrite import Sample, decode_labels, encode_labels, encode_request
from streams.stores.promql.api import Found, found_of, said_in, seconds
from streams.stores.promql.names import STATE_SERIES, code_of, labels_of
from streams.stores.promql.store import PromStore

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


class PrometheusStore(PromStore):
    """Writes samples to one Prometheus, in order, and reads them back."""

    batch_items = 20_000
    batches = 1  # what is on its way twice arrives out of order

    def __init__(
        self,
        url: str,
        settings: Settings,
        catalogue_fields: Mapping[str, tuple[str, str]],
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("Prometheus", url, settings, catalogue_fields, HINTS)
        self._series: dict[Owner, dict[str, bytes]] = {}
        self._remembered = 0
        self._is_closed: bool | None = None
        self._wall_s = wall_s

    async def prepare(self) -> None:
        """Look whether samples are taken; there is nothing to create."""
        await self._post([])

    def convert(self, tick: Tick) -> list[Sample]:
        """One sample for each value, and one for each change."""
        samples: list[Sample] = []
        world, names = tick["world"], tick["names"]
        check_places(names, tick["metrics"])
        for kind, id, pool, tick_ms, simulated, _, values, places, _ in rows_of(tick):
            owner = (kind, id, pool, world, simulated)
            series = self._series.get(owner) or {}
            samples += [
                Sample(series.get(names[place]) or self._encode(owner, names[place]), tick_ms, value)
                for place, value in zip(places, values, strict=True)
            ]
        for change in changes_of(tick):
            labels = labels_of(change.kind, change.id, change.pool, world, change.simulated)
            of_status = encode_labels(labels | {"__name__": STATE_SERIES})
            samples.append(Sample(of_status, change.at_ms, float(code_of(change.status, change.removed))))
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
            or (answer.status in (400, 409, 422) and ABOUT_SAMPLES.search(said_in(answer)))
            or (answer.status == 500 and said_in(answer).startswith(TOO_OLD))
        ):
            return answer
        raise self.api.error(answer)

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
