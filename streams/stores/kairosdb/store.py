"""History in KairosDB, through its REST API."""

from collections.abc import Mapping

from streams.domain.decice_fields import Fields
from streams.errors import StoreError
from streams.records import Tick
from streams.settings import Settings
from streams.stores import PastChange, PastTick, Refusal, Selection, Series, Window
from streams.stores.http import parse_address
from streams.stores.kairosdb.client import KairosClient
from streams.stores.kairosdb.points import PointFormat, Points
from streams.stores.kairosdb.read import AGGREGATORS, KairosReader
from streams.stores.kairosdb.refused import post_all

POSTS = 2
"""[1] Posts in flight: with one KairosDB idles while it is answered."""


class KairosStore:
    """Writes and reads data points; KairosDB makes metrics by itself, and keeps them for ever."""

    batch_items = 500
    batches = POSTS
    holds = frozenset({"text", "quality"})
    functions = frozenset(AGGREGATORS)
    coarse_ms: int | None = None

    def __init__(self, url: str, settings: Settings, catalogue_fields: Mapping[str, tuple[str, str]]) -> None:
        self.label = f"KairosDB at {url}"
        self._client = KairosClient(url, settings)
        self._format = PointFormat(catalogue_fields)
        self._reader = KairosReader(self._client, catalogue_fields)

    async def prepare(self) -> None:
        """See that a KairosDB is there; there is nothing to create."""
        answer = await self._client.get("/api/v1/version")
        if "KairosDB" not in str(answer):
            raise StoreError(f"{self._client.url} is no KairosDB: correct TWIN_HISTORY_URL")

    def convert(self, tick: Tick) -> list[Points]:
        """One item for each row, and one for each change."""
        return self._format.to_points(tick)

    def show(self, item: Points) -> bytes:
        """The data points as they are posted."""
        return item.text.encode()

    async def write(self, items: list[Points]) -> list[Refusal]:
        """Post the data points; return the items that KairosDB refuses, or would drop."""
        return await post_all(items, self._client.post_points)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def read(self, selection: Selection, window: Window | None = None) -> list[Series]:
        """Values, or what KairosDB makes of those in each window."""
        return await self._reader.read(selection, window)

    async def read_ticks(self, selection: Selection) -> list[PastTick]:
        """The newest tick of each entity."""
        return await self._reader.read_ticks(selection)

    async def read_changes(self, selection: Selection, *, newest: bool) -> list[PastChange]:
        """Changes of status and attributes, and removals."""
        return await self._reader.read_changes(selection, newest=newest)


def from_settings(
    settings: Settings, catalogue_fields: Mapping[str, tuple[str, str]], _decice: Fields | None = None
) -> KairosStore:
    """The store that TWIN_HISTORY_URL names.

    Raises:
        SettingsError: the URL, or what belongs to it, cannot be used.
    """
    return KairosStore(parse_address(settings.history_url or "", "kairosdb"), settings, catalogue_fields)
