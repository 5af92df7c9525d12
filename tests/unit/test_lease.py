from types import SimpleNamespace

from streams.engine.lease import Lease


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_lease_that_nobody_gave_does_not_hold() -> None:
    assert not Lease(10.0, Clock()).holds


def test_it_holds_for_a_session_from_when_the_heartbeat_was_sent() -> None:
    clock = Clock()
    lease = Lease(10.0, clock)

    lease.renew(98.0)

    clock.now = 107.9
    assert lease.holds
    clock.now = 108.0
    assert not lease.holds


def test_an_older_answer_does_not_shorten_it() -> None:
    clock = Clock()
    lease = Lease(10.0, clock)

    lease.renew(100.0)
    lease.renew(95.0)

    clock.now = 109.0
    assert lease.holds


async def test_it_follows_heartbeats_and_joins_that_succeed() -> None:
    clock = Clock()
    lease = Lease(10.0, clock)
    answers = {"heartbeat": True, "join": True}

    async def heartbeat() -> bool:
        clock.now += 3.0
        return answers["heartbeat"]

    async def join(_subscription: object) -> bool:
        clock.now += 20.0
        return answers["join"]

    coordinator = SimpleNamespace(_do_heartbeat=heartbeat, _do_rejoin_group=join)
    lease.watch(coordinator)

    assert await coordinator._do_rejoin_group(None)
    assert lease.holds, "from the end of the join"
    clock.now += 9.0
    assert await coordinator._do_heartbeat()
    clock.now += 6.9
    assert lease.holds, "from the start of the heartbeat"
    clock.now += 0.2
    assert not lease.holds
    answers["heartbeat"] = False
    assert not await coordinator._do_heartbeat()
    assert not lease.holds, "Kafka does not know this member any more"
