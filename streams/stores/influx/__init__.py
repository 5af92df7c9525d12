"""History in InfluxDB 2."""

from streams.stores.influx.client import InfluxAddress, parse_address
from streams.stores.influx.store import InfluxStore, from_settings

__all__ = ["InfluxAddress", "InfluxStore", "from_settings", "parse_address"]
