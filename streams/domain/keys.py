"""Entity keys, and which partition an entity belongs to."""

from urllib.parse import quote, unquote
from zlib import crc32


def entity_key(world: str, kind: str, id: str) -> str:
    """Kafka key of an entity; the id is percent-encoded, so that it holds no slash."""
    return f"{world}/{kind}/{id if id.isascii() and id.isalnum() else quote(id, safe='~')}"


def split_key(key: str) -> tuple[str, str, str]:
    """World, kind and id of an entity key."""
    world, kind, id = key.split("/")
    return world, kind, unquote(id)


def partition_key(key: str) -> str:
    """What decides the partition: an entity and its overlays share one, an isolated world is one."""
    world, _, entity = key.partition("/")
    return entity if world == "live" or world.startswith("live~") else world


def partition_of(key: str, partitions: int) -> int:
    """Partition of an entity key among `partitions`."""
    return crc32(partition_key(key).encode()) % partitions


def event_partition(world: str, sender: str, partitions: int) -> int:
    """Partition of an event: all of one world, or of one sender to live, stay in order."""
    return crc32((sender if world == "live" else world).encode()) % partitions
