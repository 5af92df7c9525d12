"""Batches on their way into a store, with a fake store and virtual time."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from streams.errors import StoreError
from streams.records import Tick
from streams.stores import Refusal
from streams.stores.writer import FIRST_WAIT_S, LINGER_S, LONGEST_WAIT_S, Batch, Writer, wait_s


class VirtualLoop(asyncio.SelectorEventLoop):
    """Sleeps take no time: when nothing is ready, the clock jumps to the next timer."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(Jumping(self))

    def time(self) -> float:
        """[s] The virtual time."""
        return self.now_s


class Jumping(selectors.SelectSelector):
    """Moves the clock on instead of waiting."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        """What is ready; the wait itself is skipped."""
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("nothing will ever happen again")
        if not ready and timeout:
            self._loop.now_s += timeout
        return ready


def virtually(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine function in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work())


class FakeStore:
    """Takes items when it is told how: each write waits for the next of `answers`, and then succeeds."""

    label = "fake"
    batch_items = 10
    batches = 2

    def __init__(self) -> None:
        self.takes_s = 0.1
        self.answers: list[list[Refusal] | Exception] = []
        self.writes: list[tuple[float, list[Any]]] = []
        self.most = 0
        self._open = 0

    async def prepare(self) -> None:
        """Nothing to do."""

    def convert(self, tick: Tick) -> list[Any]:
        """Not used here."""
        return []

    def show(self, item: Any) -> bytes:
        """Not used here."""
        return b""

    async def close(self) -> None:
        """Nothing to do."""

    async def write(self, items: list[Any]) -> list[Refusal]:
        """Answer as told, after a while."""
        self.writes.append((asyncio.get_running_loop().time(), list(items)))
        answer = self.answers.pop(0) if self.answers else []
        takes_s = self.takes_s
        self._open += 1
        self.most = max(self.most, self._open)
        try:
            await asyncio.sleep(takes_s)
        finally:
            self._open -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer


class Bench:
    """A writer, and what it settled."""

    def __init__(self, store: FakeStore) -> None:
        self.settled: list[tuple[list[str], list[Refusal] | None]] = []
        self.crashes: list[BaseException] = []
        self.unwanted: set[str] = set()
        self.writer: Writer[str] = Writer(
            store, settle=self.settle, crash=self.crash, wanted=self.is_wanted, chance=lambda: 1.0
        )

    async def settle(self, batch: Batch[str], refusals: list[Refusal] | None) -> None:
        """Note the fate of a batch."""
        self.settled.append((batch.messages, refusals))

    async def crash(self, error: BaseException) -> None:
        """Note a bug."""
        self.crashes.append(error)

    def is_wanted(self, message: str) -> bool:
        """Whether a message was not lost to another member."""
        return message not in self.unwanted


def test_a_full_batch_is_written_at_once() -> None:
    async def work() -> None:
        bench = Bench(store := FakeStore())
        await bench.writer.add("a", list(range(6)))
        await bench.writer.add("b", list(range(6, 12)))
        await asyncio.sleep(0.5)

        assert store.writes == [(0.0, list(range(12)))]
        assert bench.settled == [(["a", "b"], [])]

    virtually(work)


def test_a_small_batch_waits_a_second_for_more() -> None:
    async def work() -> None:
        bench = Bench(store := FakeStore())
        await bench.writer.add("a", [1])
        await asyncio.sleep(0.9)
        await bench.writer.add("b", [2])
        await asyncio.sleep(0.5)

        assert store.writes == [(LINGER_S, [1, 2])]

    virtually(work)


def test_messages_without_items_are_settled_without_a_write() -> None:
    async def work() -> None:
        bench = Bench(store := FakeStore())
        await bench.writer.add("a", [])
        await asyncio.sleep(2)

        assert store.writes == []
        assert bench.settled == [(["a"], [])]

    virtually(work)


def test_two_batches_are_under_way_and_the_third_waits() -> None:
    async def work() -> None:
        bench = Bench(store := FakeStore())
        store.takes_s = 5.0
        for name in ("a", "b"):
            await bench.writer.add(name, [name] * 10)
        third = asyncio.create_task(bench.writer.add("c", ["c"] * 10))
        await asyncio.sleep(4.9)
        assert not third.done()
        assert bench.writer.busy

        await asyncio.sleep(10)

        assert third.done()
        assert [at for at, _ in store.writes] == [0.0, 0.0, 5.0]
        assert store.most == 2
        assert not bench.writer.busy

    virtually(work)


def test_a_batch_that_is_due_is_written_when_one_is_done() -> None:
    async def work() -> None:
        bench = Bench(store := FakeStore())
        store.takes_s = 5.0
        for name in ("a", "b"):
            await bench.writer.add(name, [name] * 10)
        await bench.writer.add("c", ["c"])
        await asyncio.sleep(20)

        assert store.writes[2] == (5.0, ["c"])
        assert [messages for messages, _ in bench.settled] == [["a"], ["b"], ["c"]]

    virtually(work)


def test_batches_are_settled_in_order_whichever_is_done_first() -> None:
    async def work() -> None:
        bench = Bench(store := FakeStore())
        store.answers = [StoreError("away")]
        await bench.writer.add("a", ["a"] * 10)
        await bench.writer.add("b", ["b"] * 10)
        await asyncio.sleep(0.3)
        assert bench.settled == []

        await asyncio.sleep(2)

        assert [messages for messages, _ in bench.settled] == [["a"], ["b"]]

    virtually(work)


def test_a_store_that_is_away_gets_the_same_batch_again() -> None:
    async def work() -> None:
        bench = Bench(store := FakeStore())
        store.takes_s = 0.0
        store.answers = [StoreError("connection refused")] * 8
        await bench.writer.add("a", [1] * 10)
        await asyncio.sleep(1)
        assert bench.writer.trouble == "connection refused"

        await asyncio.sleep(120)

        waits = [
            later - sooner for (sooner, _), (later, _) in zip(store.writes, store.writes[1:], strict=False)
        ]
        assert waits == pytest.approx([0.5, 1, 2, 4, 8, 15, 15, 15])
        assert all(items == [1] * 10 for _, items in store.writes)
        assert bench.settled == [(["a"], [])]
        assert bench.writer.trouble == ""

    virtually(work)


def test_the_store_may_ask_for_a_longer_wait() -> None:
    async def work() -> None:
        bench = Bench(store := FakeStore())
        store.takes_s = 0.0
        store.answers = [StoreError("busy", retry_after_s=40.0)]
        await bench.writer.add("a", [1] * 10)
        await asyncio.sleep(60)

        assert store.writes[1][0] == pytest.approx(44.0)

    virtually(work)


def test_refused_items_lead_to_their_messages() -> None:
    async def work() -> None:
        bench = Bench(store := FakeStore())
        refusals = [Refusal(0, "r", "e"), Refusal(4, "r", "e"), Refusal(9, "r", "e")]
        store.answers = [refusals]
        found: list[str] = []

        async def settle(batch: Batch[str], refused: list[Refusal] | None) -> None:
            found.extend(batch.message_of(refusal.index) for refusal in refused or [])

        writer: Writer[str] = Writer(store, settle=settle, crash=bench.crash)
        for name, count in (("a", 4), ("b", 1), ("c", 0), ("d", 5)):
            await writer.add(name, [name] * count)
        await asyncio.sleep(1)

        assert found == ["a", "b", "d"]

    virtually(work)


def test_a_batch_that_nobody_wants_is_dropped_between_tries() -> None:
    async def work() -> None:
        bench = Bench(store := FakeStore())
        store.answers = [StoreError("away")] * 100
        await bench.writer.add("a", [1] * 10)
        await asyncio.sleep(5)
        bench.unwanted.add("a")
        tries = len(store.writes)
        await asyncio.sleep(60)

        assert len(store.writes) <= tries + 1
        assert bench.settled == [(["a"], None)]

    virtually(work)


def test_a_bug_crashes_and_nothing_is_settled_after_it() -> None:
    async def work() -> None:
        bench = Bench(store := FakeStore())
        store.answers = [ValueError("a bug")]
        await bench.writer.add("a", [1] * 10)
        await bench.writer.add("b", [2] * 10)
        add = asyncio.create_task(bench.writer.add("c", [3]))
        await asyncio.sleep(60)

        assert [str(error) for error in bench.crashes] == ["a bug"]
        assert bench.settled == []
        assert not add.done() or len(store.writes) == 2
        add.cancel()

    virtually(work)


def test_close_gives_up_what_is_under_way() -> None:
    async def work() -> None:
        bench = Bench(store := FakeStore())
        store.takes_s = 1_000.0
        await bench.writer.add("a", [1] * 10)
        await bench.writer.add("b", [2])
        await asyncio.sleep(0.1)
        await bench.writer.close()
        await asyncio.sleep(5)

        assert bench.settled == []
        assert not bench.writer.busy
        assert len(store.writes) == 1

    virtually(work)


@pytest.mark.parametrize("tries", [1, 2, 5, 50, 5_000])
def test_waits_grow_and_stay_bounded(tries: int) -> None:
    least, most = wait_s(tries, None, 0.0), wait_s(tries, None, 1.0)

    assert FIRST_WAIT_S / 2 <= least < most <= LONGEST_WAIT_S
    assert wait_s(tries, 2.0, 0.0) >= 2.0
