"""History in InfluxDB 2: line protocol in, Flux out, through influxdb-client."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

import urllib3
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.influxdb_client import InfluxDBClient

from streams.domain.decice_fields import Fields
from streams.domain.decice_lines import DeciceLines
from streams.domain.sink import LineFormat
from streams.errors import StoreError
from streams.records import Tick
from streams.settings import Settings
from streams.stores import PastChange, PastTick, Refusal, Selection, Series, Window
from streams.stores.http import POST_TIMEOUT_S
from streams.stores.influx import past as influx_past
from streams.stores.influx import read as influx_read
from streams.stores.influx.client import POSTS, InfluxAddress, InfluxClient, parse_address
from streams.stores.influx.records import read_records, write_records
from streams.stores.influx.refused import Rejected, post_all
from streams.stores.influx.rows import Names
from streams.stores.influx.setup import COARSE_MS, SetUp, coarse_of
from streams.stores.rawrecords import Record


class InfluxStore:
    """Keeps history in a bucket, which it makes if it may, with one at 5 minutes beside it."""

    batch_items = 5_000
    batches = POSTS + 1  # one is compressed while the others are on their way
    holds = frozenset({"text", "quality"})
    functions = frozenset(influx_read.FUNCTIONS)
    coarse_ms: int | None = COARSE_MS

    def __init__(
        self,
        address: InfluxAddress,
        settings: Settings,
        catalogue_fields: Mapping[str, tuple[str, str]],
        decice: Fields | None = None,
    ) -> None:
        """`decice`: where metrics are in DECICE's documents, for TWIN_INFLUX_DECICE_COMPAT."""
        self._client = InfluxClient(address, settings)
        self.label = f"InfluxDB at {address.url}, bucket {address.bucket} of {address.org}"
        self.convert_tick = LineFormat(catalogue_fields).to_lines
        self._decice = DeciceLines(decice) if decice and settings.influx_decice_compat else None
        self._names = Names(catalogue_fields)
        self._address = address
        self._settings = settings
        self._prepared = False
        self._preparing = asyncio.Lock()

    async def prepare(self) -> None:
        """Create the buckets and the task that are missing."""
        async with self._preparing:
            if not self._prepared:
                await _on_daemon_thread(self._set_up)
                self._prepared = True

    def _set_up(self) -> None:
        # The client's buckets and tasks exist only without asyncio.
        with InfluxDBClient(**self._client.options, timeout=int(POST_TIMEOUT_S * 1000)) as client:
            try:
                SetUp(client, self._address.org, self._settings).run(self._address.bucket)
            except InfluxDBError as error:
                raise self._client.refused(error, "write", self._address.bucket) from None
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise self._client.away(error) from error

    def convert(self, tick: Tick) -> list[str]:
        """The lines of a tick, after them those for DECICE's dashboards."""
        lines = self.convert_tick(tick)
        return lines + self._decice.to_lines(tick) if self._decice else lines

    def show(self, item: str) -> bytes:
        """The line itself."""
        return item.encode()

    async def write(self, items: list[str]) -> list[Refusal]:
        """Post the lines; return those that InfluxDB refuses by themselves."""
        if not self._prepared:
            await self.prepare()
        return await post_all(items, self._post)

    async def _post(self, lines: list[str]) -> Rejected | None:
        try:
            return await self._client.post(lines, self._address.bucket)
        except StoreError as error:
            # The bucket or the right to it may have been taken away: look again, and say so.
            self._prepared = self._prepared and error.status not in (401, 403, 404)
            raise

    async def read(self, selection: Selection, window: Window | None = None) -> list[Series]:
        """Values, or what a function makes of them."""
        return await influx_read.read(
            self._client.query, self._bucket(selection), self._names, selection, window
        )

    async def read_ticks(self, selection: Selection) -> list[PastTick]:
        """The newest tick of each entity."""
        return await influx_past.read_ticks(
            self._client.query, self._bucket(selection), self._names, selection
        )

    async def read_changes(self, selection: Selection, *, newest: bool) -> list[PastChange]:
        """Changes of status and attributes."""
        bucket = self._address.bucket
        return await influx_past.read_changes(
            self._client.query, bucket, coarse_of(bucket), selection, newest=newest
        )

    async def write_records(self, bucket: str, records: list[Record]) -> None:
        """Points of any measurement, as they are."""
        await write_records(self._client.post, bucket, records)

    async def read_records(
        self, bucket: str, measurement: str, start_ms: int, stop_ms: int, tags: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """Points of a measurement, as Flux gives them."""
        return await read_records(self._client.query, bucket, measurement, start_ms, stop_ms, tags)

    def _bucket(self, selection: Selection) -> str:
        return coarse_of(self._address.bucket) if selection.coarse else self._address.bucket

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


async def _on_daemon_thread(work: Callable[[], None]) -> None:
    """Run blocking work where a stop of the process does not wait for it, however long a server hangs."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if done.done():  # cancelled
            return
        if error:
            done.set_exception(error)
        else:
            done.set_result(None)

    def run() -> None:
        caught: Exception | None = None
        try:
            work()
        except Exception as error:  # noqa: BLE001  # raised again where it is awaited
            caught = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, caught)

    threading.Thread(target=run, name="influxdb-set-up", daemon=True).start()
    await done


def from_settings(
    settings: Settings, catalogue_fields: Mapping[str, tuple[str, str]], decice: Fields | None = None
) -> InfluxStore:
    """The store that TWIN_HISTORY_URL names.

    Raises:
        SettingsError: the URL, or what belongs to it, cannot be used.
    """
    return InfluxStore(parse_address(settings.history_url or ""), settings, catalogue_fields, decice)
