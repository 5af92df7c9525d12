"""History: what a store must do, and which one the settings name."""

import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from streams.domain.decice_fields import Fields
from streams.errors import SettingsError
from streams.records import Tick
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Refusal:
    """An item of a batch that the store will never take; the rest of the batch is kept."""

    index: int
    reason: str
    error: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which closed ticks are meant; what is empty means all.

    Args:
        start_ms: [ms since the epoch] first tick.
        end_ms: [ms since the epoch] the tick after the last one: start <= tick < end.
        ids: exact ids, of whatever kind.
        coarse: of the means at 5 minutes, where the store keeps them (`Store.coarse_ms`).
    """

    start_ms: int
    end_ms: int
    world: str = "live"
    kinds: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    coarse: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """Values of each metric of each entity within [n × every, (n + 1) × every) become one.

    A window that the selection cuts has what of it is selected; one without a value is left out.

    Args:
        every_ms: [ms] length.
        fn: one of `WINDOW_FUNCTIONS`; percentiles are linear between the neighbours (p50 of 1 and 2 is 1.5).
    """

    every_ms: int
    fn: str


WINDOW_FUNCTIONS = ("mean", "min", "max", "last", "sum", "count", "p50", "p95", "p99")
"""What can be made of the values in a window."""


class Series(NamedTuple):
    """The values of one metric of one entity, in order of time.

    Args:
        nodepool: of the newest value.
        times_ms: [ms since the epoch] ticks, or the first moment of each window.
        values: [unit of the catalogue] as many.
    """

    kind: str
    id: str
    nodepool: str
    simulated: bool
    metric: str
    times_ms: list[int]
    values: list[float]


class PastTick(NamedTuple):
    """A closed tick of an entity, as it was written.

    Args:
        qualities: one for each value, as in `streams.domain.entity`; None where the store cannot hold them.
    """

    kind: str
    id: str
    nodepool: str
    simulated: bool
    tick_ms: int
    complete: bool | None
    names: list[str]
    values: list[float]
    qualities: list[int] | None


class PastChange(NamedTuple):
    """A change of status or attributes, or a removal.

    Args:
        attributes: JSON object; "{}" where the store cannot hold text.
        reason: "" where the store cannot hold text.
    """

    kind: str
    id: str
    nodepool: str
    simulated: bool
    at_ms: int
    status: str
    reason: str
    attributes: str
    removed: bool

    @property
    def named_attributes(self) -> dict[str, str]:
        """Attributes by name; the pool among them, also where the store holds no text."""
        try:
            named: dict[str, str] = json.loads(self.attributes)
        except ValueError:
            named = {}
        if self.nodepool and self.kind != "nodepool":
            named.setdefault("nodepool", self.nodepool)
        return named


class Store(Protocol):
    """Where closed ticks go, and where they are read from.

    Writing an item twice must have the effect of writing it once. Each read ends by itself within
    `READ_TIMEOUT_S`, and raises StoreError when the store is away, refuses, or did not answer by then.
    """

    label: str
    """What to call it in logs; holds no secret."""

    batch_items: int
    """[1] Items that are worth one write."""

    batches: int
    """[1] Batches that may be under way at a time."""

    async def prepare(self) -> None:
        """Create what is missing: buckets, tasks, tables.

        Raises:
            StoreError: the store is away or refuses; the text says what to do.
        """

    def convert(self, tick: Tick) -> list[Any]:
        """The items of a tick.

        Raises:
            InvalidMessageError: the tick is not one.
        """

    async def write(self, items: list[Any]) -> list[Refusal]:
        """Keep the items, for good; return those that will never be taken.

        Raises:
            StoreError: nothing can be said about some of them: all must be written again.
        """

    def show(self, item: Any) -> bytes:
        """An item as a person can read it, for the dead letters."""

    holds: frozenset[str]
    """What it keeps besides numbers: "text" (attributes, reasons) and "quality" (of values, and complete)."""

    functions: frozenset[str]
    """Of `WINDOW_FUNCTIONS` those that the store itself computes exactly; others are computed from values."""

    coarse_ms: int | None
    """[ms] Distance of the coarse values that it keeps longer; None when there are none."""

    async def read(self, selection: Selection, window: Window | None = None) -> list[Series]:
        """Values of the selection, or what `window.fn`, one of `functions`, makes of them.

        Series are in order of kind, id and metric; one without values is left out.

        Raises:
            TooMuchError: there are more than `MAX_POINTS` values in the answer.
            StoreError: see above.
        """

    async def read_ticks(self, selection: Selection) -> list[PastTick]:
        """The newest closed tick in the selection of each entity, with all that was written for it.

        `metrics` of the selection is not looked at. In order of kind and id.

        Raises:
            StoreError: see above.
        """

    async def read_changes(self, selection: Selection, *, newest: bool) -> list[PastChange]:
        """Changes in the selection: the newest of each entity, or all. In order of kind, id and time.

        The newest are also looked for where the store keeps changes longer (`coarse_ms`).

        Raises:
            TooMuchError: there are more than `MAX_POINTS`.
            StoreError: see above.
        """

    async def close(self) -> None:
        """Let go of connections and threads."""


READ_TIMEOUT_S = 30.0
"""[s] After which a read is given up."""

MAX_POINTS = 1_000_000
"""[1] Most values in one answer of a store: about 100 MB while it is read."""


DRIVERS = {
    "influxdb": "streams.stores.influx",
    "duckdb": "streams.stores.duckdb",
    "victoriametrics": "streams.stores.victoriametrics",
    "kairosdb": "streams.stores.kairosdb",
    "prometheus": "streams.stores.prometheus",
}
"""Module of each kind of store; its `from_settings` takes what `open_store` does."""


def open_store(
    settings: Settings, catalogue_fields: Mapping[str, tuple[str, str]], decice: Fields | None = None
) -> Store:
    """The store that TWIN_HISTORY_URL names; nothing is contacted yet.

    Args:
        decice: where metrics are in DECICE's documents; who writes gives it, for TWIN_INFLUX_DECICE_COMPAT.

    Raises:
        SettingsError: no store is named, or its URL cannot be used. Never tells a part that may be a secret.
    """
    if not settings.history_url:
        raise SettingsError(
            [
                "TWIN_HISTORY_URL is not set: name a store as influxdb+http://host:8086/<org>/<bucket>,"
                " duckdb:///path, victoriametrics+http://host:8428, kairosdb+http://host:8080 or"
                " prometheus+http://host:9090, or use `twin up`, which brings one"
            ]
        )
    name, plus, transport = urlsplit(settings.history_url).scheme.partition("+")
    if name in DRIVERS and (transport in ("http", "https") if plus else name == "duckdb"):
        # Each client takes a good part of a second to import: only the one that is used is paid for.
        driver = importlib.import_module(DRIVERS[name])
        store: Store = driver.from_settings(settings, catalogue_fields, decice)
        return store
    raise SettingsError(
        [
            "TWIN_HISTORY_URL: must begin with influxdb+http://, victoriametrics+http://, kairosdb+http:// or"
            " prometheus+http:// (or https), or duckdb://"
        ]
    )
