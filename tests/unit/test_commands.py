"""Which partition an event of a scenario goes to, against the keys of the records that come of it."""

import pytest

from streams.domain.keys import event_partition, partition_of
from tests.reference.world_cases import Case

PARTITIONS = 12


def kept(world: str, number: int) -> list[str]:
    """Keys that a partition has after the creation of a world."""
    case = Case(number=number, partitions=PARTITIONS)
    case.create(world)
    return list(case.states)


@pytest.mark.parametrize("world", ["live~o", "live~live", "live~ttl", "w1", "training"])
def test_record_of_a_world_is_written_by_the_partition_that_a_restart_reads_it_from(world: str) -> None:
    record = f"{world}/world/{world}"

    found = [number for number in range(PARTITIONS) if record in kept(world, number)]

    assert found == [partition_of(record, PARTITIONS)]


def test_other_partitions_have_a_shard_of_an_overlay() -> None:
    home = partition_of("live~o/world/live~o", PARTITIONS)

    shards = [number for number in range(PARTITIONS) if f"live~o/_world/{number}" in kept("live~o", number)]

    assert shards == [number for number in range(PARTITIONS) if number != home]


def test_events_of_a_world_stay_in_order_and_so_do_those_of_a_sender_to_live() -> None:
    assert {event_partition("w1", sender, 12) for sender in ("a", "b")} == {partition_of("w1/node/a", 12)}
    assert len({event_partition("live", f"sender {number}", 12) for number in range(50)}) > 1
