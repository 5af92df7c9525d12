"""Points of any measurement, written and read as they are, as DECICE's time-series routes do."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable


class Record(NamedTuple):
    """A point.

    Args:
        time_ms: [ms since the epoch]; None means the moment at which it is written.
    """

    measurement: str
    tags: dict[str, str]
    fields: dict[str, float | int | str | bool]
    time_ms: int | None


@runtime_checkable
class RawRecords(Protocol):
    """A store that takes and gives such points: InfluxDB, DuckDB."""

    async def write_records(self, bucket: str, records: list[Record]) -> None:
        """Keep the records, in whatever bucket the token may write.

        Raises:
            StoreError: the store is away, or refuses; its `status` is that of the refusal.
        """

    async def read_records(
        self, bucket: str, measurement: str, start_ms: int, stop_ms: int, tags: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """The points of a measurement with all these tags, one dictionary for each field of a point.

        It has what Flux gives: `result`, `table`, `_start`, `_stop`, `_time` (text, RFC 3339), `_value`,
        `_field`, `_measurement` and each tag.

        Args:
            start_ms: [ms since the epoch].
            stop_ms: [ms since the epoch] not included.

        Raises:
            TooMuchError: there are more than `MAX_POINTS`.
            StoreError: the store is away, or refuses; its `status` is that of the refusal.
        """
