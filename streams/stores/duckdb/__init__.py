"""History in a DuckDB file."""

from streams.stores.duckdb.store import DuckStore, from_settings, parse_path

__all__ = ["DuckStore", "from_settings", "parse_path"]
