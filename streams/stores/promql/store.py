"""What VictoriaMetrics and Prometheus are as stores: what they hold, and that they are read by PromQL."""

from collections.abc import Mapping

from streams.settings import Settings
from streams.stores import WINDOW_FUNCTIONS, PastChange, PastTick, Selection, Series, Window
from streams.stores.promql.api import PromApi
from streams.stores.promql.names import SeriesNames
from streams.stores.promql.read import PromReader
from streams.stores.promql.windows import Server


class PromStore(Server):
    """The half of `Store` that reads, for a server that a subclass writes to."""

    holds: frozenset[str] = frozenset()
    functions = frozenset(WINDOW_FUNCTIONS)
    coarse_ms: int | None = None

    def __init__(
        self,
        name: str,
        url: str,
        settings: Settings,
        catalogue_fields: Mapping[str, tuple[str, str]],
        hints: Mapping[int, str],
    ) -> None:
        self.api = PromApi(name, url, settings, hints)
        self.label = self.api.name
        self._names = SeriesNames(catalogue_fields)
        self._reader = PromReader(self, self._names)

    async def read(self, selection: Selection, window: Window | None = None) -> list[Series]:
        """Values, or windows of them."""
        return await self._reader.read(selection, window)

    async def read_ticks(self, selection: Selection) -> list[PastTick]:
        """The newest tick of each entity, without qualities."""
        return await self._reader.read_ticks(selection)

    async def read_changes(self, selection: Selection, *, newest: bool) -> list[PastChange]:
        """Changes of status and removals, without text."""
        return await self._reader.read_changes(selection, newest=newest)

    async def close(self) -> None:
        """Close the connections."""
        await self.api.close()
