"""History in KairosDB."""

from streams.stores.kairosdb.store import KairosStore, from_settings

__all__ = ["KairosStore", "from_settings"]
