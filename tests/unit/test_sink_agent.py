"""What the sink stage does with messages, without Faust and without a store."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from streams.agents.sink import Part, SinkStage, bound_queue
from streams.records import Tick
from streams.schemas import load_codec
from streams.stores import Refusal
from streams.stores import writer as writer_module
from streams.topics import Topics
from tests.closed_ticks import ticks_of


class FakeStore:
    """Keeps lines; refuses those of the nodes that it is told."""

    label = "fake"
    batch_items = 1_000
    batches = 2

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.refuses: dict[str, str] = {}

    async def prepare(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    def convert(self, tick: Tick) -> list[str]:
        """One item for each row."""
        return list(tick["ids"])

    def show(self, item: str) -> bytes:
        """The item itself."""
        return item.encode()

    async def write(self, items: list[str]) -> list[Refusal]:
        """Keep the good ones."""
        self.kept += [item for item in items if item not in self.refuses]
        return [
            Refusal(place, self.refuses[item], f"no {item}")
            for place, item in enumerate(items)
            if item in self.refuses
        ]


class Letters:
    """Dead letters that were sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, str]] = []

    async def send(self, event: Any, error: Any) -> None:
        """Note one."""
        self.sent.append((event, error.reason))

    async def send_all(self, refused: list[tuple[Any, str, str]]) -> None:
        """Note some."""
        self.sent += [(part, reason) for part, reason, _ in refused]


class Bench:
    """A stage on fakes."""

    def __init__(self) -> None:
        self.app = SimpleNamespace(delivery=SimpleNamespace(is_open=True, generation=3))
        self.store, self.letters = FakeStore(), Letters()
        self.stage = SinkStage(self.app, Topics("twin", 4), self.store, self.fail)
        self.stage._letters = self.letters  # type: ignore[assignment]
        self.acked: list[int] = []
        self.errors: list[BaseException] = []

    async def fail(self, error: BaseException) -> None:
        """Note a bug."""
        self.errors.append(error)

    def event(self, offset: int, value: bytes | Tick, *, generation: int = 3) -> Any:
        """A message of partition 1."""
        data = value if isinstance(value, bytes) else load_codec("tick").encode(value)
        message = SimpleNamespace(
            topic="twin.tick.v1", partition=1, offset=offset, key=b"k", value=data, generation_id=generation
        )
        return SimpleNamespace(message=message, ack=lambda: self.acked.append(offset))


@pytest.fixture(autouse=True)
def _no_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "LINGER_S", 0.01)


async def test_a_message_is_acknowledged_when_its_lines_are_kept() -> None:
    bench = Bench()
    await bench.stage.take(bench.event(7, ticks_of(["a", "b"], 5_000)))
    assert bench.acked == []

    await asyncio.sleep(0.05)

    assert bench.store.kept == ["a", "b"]
    assert bench.acked == [7]


async def test_what_is_no_tick_is_a_dead_letter_and_the_rest_goes_on() -> None:
    bench = Bench()
    for offset, value in enumerate((b"", b"poison", ticks_of(["b"], 5_000), b"\x00\x00\x00\x00\x07x")):
        await bench.stage.take(bench.event(offset, value))
    await bench.stage.take(bench.event(4, ticks_of(["a"], 5_000)))
    await asyncio.sleep(0.05)

    assert [reason for _, reason in bench.letters.sent] == ["framing", "framing", "schema_id"]
    assert bench.store.kept == ["b", "a"]
    assert bench.acked == [0, 1, 2, 3, 4]


async def test_refused_lines_of_a_message_are_one_dead_letter_for_each_reason() -> None:
    bench = Bench()
    bench.store.refuses = {"a": "conflict", "c": "conflict", "d": "old"}
    await bench.stage.take(bench.event(7, ticks_of(["a", "b", "c", "d"], 5_000)))
    await bench.stage.take(bench.event(8, ticks_of(["a", "e"], 5_000)))
    await asyncio.sleep(0.05)

    assert bench.letters.sent == [
        (Part("twin.tick.v1", 1, 7, b"k", b"a\nc"), "conflict"),
        (Part("twin.tick.v1", 1, 7, b"k", b"d"), "old"),
        (Part("twin.tick.v1", 1, 8, b"k", b"a"), "conflict"),
    ]
    assert bench.letters.sent[0][0].message.offset == 7
    assert bench.store.kept == ["b", "e"]
    assert bench.acked == [7, 8]


async def test_a_tick_of_an_older_epoch_is_left_out_and_acknowledged() -> None:
    bench = Bench()
    for offset, epoch in enumerate((2, 1, 2)):
        await bench.stage.take(bench.event(offset, ticks_of([f"e{epoch}o{offset}"], 5_000, epoch=epoch)))
    await asyncio.sleep(0.05)

    assert bench.store.kept == ["e2o0", "e2o2"]
    assert bench.acked == [0, 1, 2]


async def test_what_was_fetched_before_a_rebalance_is_left_to_its_new_owner() -> None:
    bench = Bench()
    await bench.stage.take(bench.event(7, ticks_of(["old"], 5_000), generation=2))
    await bench.stage.take(bench.event(7, ticks_of(["new"], 5_000)))
    bench.app.delivery.generation = 4
    await asyncio.sleep(0.05)

    assert bench.store.kept == []
    assert bench.acked == []


async def test_it_is_ready_when_it_has_its_partitions_and_its_store() -> None:
    bench = Bench()
    assert bench.stage.ready() == (True, {})

    bench.stage.writer._down = "connection refused"
    assert bench.stage.ready() == (False, {"reason": "connection refused"})

    bench.app.delivery.is_open = False
    assert bench.stage.ready() == (False, {"reason": "waiting for partitions"})


def test_the_queue_is_bounded_and_never_under_pressure() -> None:
    queue = SimpleNamespace(_maxsize=4_096, pressure_high_size=3_276)

    bound_queue(queue)

    assert queue.pressure_high_size > queue._maxsize == 256
