"""History: what a store must do, and which one the settings name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from streams.errors import SettingsError
from streams.records import Tick
from streams.settings import Settings


@dataclass(frozen=True, slots=True)
class Refusal:
    """An item of a batch that the store will never take; the rest of the batch is kept."""

    index: int
    reason: str
    error: str


class Store(Protocol):
    """Where closed ticks go. Writing an item twice must have the effect of writing it once."""

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

    async def close(self) -> None:
        """Let go of connections and threads."""


def open_store(settings: Settings, catalogue_fields: Mapping[str, tuple[str, str]]) -> Store:
    """The store that TWIN_HISTORY_URL names; nothing is contacted yet.

    Raises:
        SettingsError: no store is named, or its URL cannot be used. Never tells a part that may be a secret.
    """
    if not settings.history_url:
        raise SettingsError(
            [
                "TWIN_HISTORY_URL is not set: name a store as influxdb+http://host:8086/<org>/<bucket>"
                " or duckdb:///path, or use `twin up`, which brings one"
            ]
        )
    scheme = urlsplit(settings.history_url).scheme
    # Each client takes a good part of a second to import: only the one that is used is paid for.
    if scheme in ("influxdb+http", "influxdb+https"):
        from streams.stores.influx import InfluxStore, parse_address

        return InfluxStore(parse_address(settings.history_url), settings, catalogue_fields)
    if scheme == "duckdb":
        from streams.stores.duckdb import DuckStore, parse_path

        return DuckStore(parse_path(settings.history_url), settings.history_retention_d)
    raise SettingsError(
        ["TWIN_HISTORY_URL: must begin with influxdb+http://, influxdb+https:// or duckdb://"]
    )
