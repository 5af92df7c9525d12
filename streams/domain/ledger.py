"""The partition's own record: the counts of removed entities, and which were removed lately."""

from hashlib import blake2b

from streams.domain.entity import NEVER, add_source, new_entity
from streams.domain.keys import entity_key
from streams.records import State

LEDGER_KIND = "_ledger"
"""Kind of the record; kinds that begin with _ are the twin's own and not shown to people."""

REMEMBERED_MS = 600_000
"""[ms of clock time] Longer than any batch stays uncommitted, so that a redelivery finds the removal."""


REMEMBERED_MAX = 6_000
"""[1] Newest removals that are remembered: half of what a message of Kafka holds, and more than a batch."""

KEY_MAX = 64
"""[1] Longest key that is remembered as it is."""


def ledger_key(partition: int, world: str = "live") -> str:
    """Key of a partition's ledger record."""
    return entity_key(world, LEDGER_KIND, str(partition))


def new_ledger(partition: int, world: str = "live") -> State:
    """The ledger record of a partition from which nothing was removed."""
    ledger = new_entity(world, LEDGER_KIND, str(partition))
    ledger["due_ms"] = NEVER
    return ledger


def removed_version(ledger: State | None, key: str) -> int:
    """Version with which an entity was removed; 0 when that is not known."""
    return int(ledger["attributes"].get(_place(key), "0@").split("@")[0]) if ledger else 0


def removed_ms(ledger: State, key: str) -> int:
    """[ms] When an entity was removed of which that is known."""
    return int(ledger["attributes"][_place(key)].split("@")[1])


def remember_removed(ledger: State, key: str, entity: State, version: int, now_ms: int) -> None:
    """Move the counts of a removed entity to the ledger, once for each removal."""
    if removed_version(ledger, key) >= version:
        return  # written before a restart, of which the entity's own tombstone was not
    for source, name in enumerate(entity["source_names"]):
        place = 5 * add_source(ledger, name)
        for outcome, count in enumerate(entity["source_counts"][5 * source : 5 * source + 5]):
            ledger["source_counts"][place + outcome] += count
    ledger["targets"] = [""] * len(ledger["source_names"])
    remember_gone(ledger, key, version, now_ms)


def remember_gone(ledger: State, key: str, version: int, now_ms: int) -> None:
    """Remember with which version something went that is in no account: what a scenario had, or a world."""
    if removed_version(ledger, key) >= version:
        return  # noted before, and this is handled again: what came later stays behind it
    removed, place = ledger["attributes"], _place(key)
    removed.pop(place, None)  # the newest stands last
    removed[place] = f"{version}@{now_ms}"
    if len(removed) > REMEMBERED_MAX:
        del removed[next(iter(removed))]


def forget_removed(ledger: State, now_ms: int) -> None:
    """Drop what was removed so long ago that no redelivery reaches back to it."""
    removed = ledger["attributes"]
    while removed:
        oldest, mark = next(iter(removed.items()))
        if now_ms - int(mark.split("@")[1]) <= REMEMBERED_MS:
            return
        del removed[oldest]


def _place(key: str) -> str:
    """Where a key stands among what was removed; a long one by its digest, so that the record stays small."""
    return key if len(key) <= KEY_MAX else blake2b(key.encode(), digest_size=16).hexdigest()
