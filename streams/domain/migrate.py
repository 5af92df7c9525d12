"""Records of `state` as they go into the topics of a new prefix."""

from streams.domain.keys import entity_key, partition_of
from streams.domain.ledger import LEDGER_KIND
from streams.records import State


def migrate(state: State, partitions: int) -> tuple[str, int, State] | None:
    """Key, partition among `partitions`, and record of an entity that begins a new log.

    None for a ledger, and for all of a scenario world: it ends with its log.

    What counts along the log begins anew with it: version, epoch, origins, partials, and the counts, which
    `twin ledger` compares with the samples of that log.
    """
    if state["kind"] == LEDGER_KIND or state["world"] != "live":
        return None
    key = entity_key(state["world"], state["kind"], state["id"])
    moved = state.copy()
    moved["version"] = moved["epoch"] = 0
    moved["origins"], moved["origin_offsets"] = [], []
    moved["aggregate"] = None
    moved["source_counts"] = [0] * len(state["source_counts"])
    return key, partition_of(key, partitions), moved
