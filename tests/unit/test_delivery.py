from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from streams.engine.delivery import Delivery, OrderlyRecovery
from streams.errors import TwinError
from streams.settings import Settings, load_settings

A, B = TP("t", 0), TP("t", 1)


@pytest.fixture
def settings() -> Settings:
    return load_settings(kafka_bootstrap_servers="nowhere:1")


def event(tp: TP, offset: int, generation: int = 3) -> Any:
    return SimpleNamespace(message=SimpleNamespace(tp=tp, offset=offset, generation_id=generation))


async def test_only_events_of_this_generation_are_current(settings: Settings) -> None:
    delivery = Delivery(settings)
    events = [event(A, 7), event(A, 8, generation=2), event(B, 1)]

    assert await delivery.current(events) == [], "before the first assignment"
    delivery.begin(3, {A: 7, B: 0})
    delivery.begin(3, {A: 7, B: 1})
    assert await delivery.current(events) == [events[0], events[2]]
    delivery.close()
    assert await delivery.current(events) == []


async def test_what_comes_twice_is_current(settings: Settings) -> None:
    delivery = Delivery(settings)
    delivery.begin(3, {A: 7})
    events = [event(A, 7), event(A, 8), event(A, 7), event(A, 8), event(A, 9)]

    assert await delivery.current(events) == events
    assert (delivery.start(A), delivery.next_offset(A)) == (7, 10)


@pytest.mark.parametrize("exists", [True, False])
async def test_a_hole_is_an_error_when_kafka_has_what_is_absent(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    asked: list[tuple[TP, int, int]] = []

    async def look(self: Delivery, tp: TP, wanted: int, came: int) -> bool:
        asked.append((tp, wanted, came))
        return exists

    monkeypatch.setattr(Delivery, "_exists", look)
    delivery = Delivery(settings)
    delivery.begin(3, {A: 7})

    if exists:
        with pytest.raises(TwinError, match="offset 9 came, 7 did not"):
            await delivery.current([event(A, 9)])
    else:
        assert len(await delivery.current([event(A, 9), event(A, 10)])) == 2
    assert asked == [(A, 7, 9)]


class App:
    """What a recovery asks of an app and its consumer, and in which order."""

    def __init__(self, settings: Settings, committed: dict[TP, int | None], begins: dict[TP, int]) -> None:
        self.calls: list[str] = []
        self.delivery = Delivery(settings)
        self.consumer_generation_id = 3
        self.consumer: Any = self
        self.flow_control = SimpleNamespace(suspend=self._note("suspend"), resume=self._note("empty queues"))
        self.on_rebalance_complete = SimpleNamespace(send=self._later("told"))
        self._fetcher = SimpleNamespace(maybe_start=self._later("fetcher"))
        self.tables = SimpleNamespace(on_actives_ready=lambda: None, on_standbys_ready=lambda: None)
        self._read_offset: dict[TP, int | None] = {}
        self._committed_offset: dict[TP, int | None] = {}
        self._committed, self._begins = committed, begins

    def _note(self, name: str) -> Any:
        return lambda *_: self.calls.append(name)

    def _later(self, name: str) -> Any:
        async def call() -> None:
            self.calls.append(name)

        return call

    def assignment(self) -> set[TP]:
        return set(self._begins)

    def __getattr__(self, name: str) -> Any:
        if name in ("stop_flow", "resume_flow", "resume_partitions", "on_rebalance_end"):
            return self._note(name)
        raise AttributeError(name)

    async def seek_to_committed(self) -> dict[TP, int | None]:
        return self._committed

    async def earliest_offsets(self, *_: TP) -> dict[TP, int]:
        return self._begins

    async def seek_wait(self, starts: dict[TP, int]) -> None:
        self.calls.append(f"seek {sorted(starts.values())}")


def recovery_of(app: App) -> Any:
    recovery: Any = OrderlyRecovery.__new__(OrderlyRecovery)
    recovery.app, recovery.tables = app, app.tables
    recovery.completed = SimpleNamespace(set=lambda: None)
    recovery._is_changelog_tp = lambda tp: False

    async def wait(coroutine: Any) -> None:
        await coroutine

    recovery._wait = wait
    return recovery


async def test_messages_flow_after_the_seek_and_from_the_beginning_where_nothing_was_committed(
    settings: Settings,
) -> None:
    app = App(settings, committed={A: 5, B: None}, begins={A: 0, B: 0})

    await recovery_of(app)._resume_streams(3)

    calls = app.calls
    assert calls.index("stop_flow") < calls.index("seek [0, 5]") < calls.index("resume_partitions")
    assert calls.index("resume_partitions") < calls.index("empty queues") < calls.index("resume_flow")
    assert (app.delivery.generation, app.delivery.start(A), app.delivery.start(B)) == (3, 5, 0)
    assert app._read_offset == app._committed_offset == {A: 5, B: None}


async def test_what_retention_deleted_is_not_waited_for(settings: Settings) -> None:
    app = App(settings, committed={A: 5}, begins={A: 90})

    await recovery_of(app)._resume_streams(3)

    assert app.delivery.start(A) == app._committed_offset[A] == 90


async def test_nothing_flows_when_another_rebalance_has_begun(settings: Settings) -> None:
    app = App(settings, committed={A: 5}, begins={A: 0})
    app.consumer_generation_id = 4

    await recovery_of(app)._resume_streams(3)

    assert "resume_flow" not in app.calls
    assert not app.delivery.is_open
