"""The DECICE digital twin as a stream: state, history and what-if copies of a compute continuum."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streams.replica import TwinReplica
    from streams.settings import Settings

__all__ = ["Settings", "TwinReplica"]


def __getattr__(name: str) -> Any:
    # Lazy, so that importing one small module of the package does not load the Kafka client.
    if name == "TwinReplica":
        from streams.replica import TwinReplica

        return TwinReplica
    if name == "Settings":
        from streams.settings import Settings

        return Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
