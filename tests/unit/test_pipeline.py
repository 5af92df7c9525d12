import asyncio
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from streams.errors import InvalidMessageError
from streams.schemas import load_codec, load_scrape_head
from streams.settings import Settings
from streams.web.pipeline.look import Looked
from streams.web.pipeline.rates import Rates
from streams.web.pipeline.reuse import KEPT, LONGEST_S, Reused
from streams.web.pipeline.tail import Scraped, ScrapeTail
from streams.web.pipeline.whileasked import WhileAsked
from tests.factories import NOW_MS
from tests.waiting import until


def scrape(**overrides: Any) -> bytes:
    fields: dict[str, Any] = {
        "source": "host",
        "target": "ws01",
        "pack": "host",
        "interval_ms": 5_000,
        "scraped_at_ms": NOW_MS,
        "ok": True,
        "error": "",
        "simulated": False,
        "duration_ms": 42,
        "series": ["a", "b", "c"],
        "values": [1.0, 2.0, 3.0],
        "times_ms": [],
        "dropped": {},
    }
    return load_codec("scrape").encode(fields | overrides)


def record(value: bytes | None, offset: int, partition: int = 0) -> ConsumerRecord:
    return ConsumerRecord("t", partition, offset, NOW_MS + 30, 0, None, value, None, 0, 0, ())


def tail_of(*values: bytes) -> ScrapeTail:
    tail = ScrapeTail(Settings(kafka_bootstrap_servers="127.0.0.1:1"))
    tail.take([record(value, offset) for offset, value in enumerate(values)])
    return tail


def only(tail: ScrapeTail) -> Scraped:
    (found,) = tail.targets.values()
    return found


@pytest.mark.parametrize("count", [0, 1, 3, 5_000])
def test_the_head_of_a_scrape_has_the_number_of_its_series(count: int) -> None:
    head = load_scrape_head(scrape(series=["x"] * count, values=[0.0] * count))

    assert (head["source"], head["interval_ms"], head["series_count"]) == ("host", 5_000, count)


@pytest.mark.parametrize("data", [b"", b"\x00", b"{}......", b"\x00\x00\x00\x00\x07abc", scrape()[:9]])
def test_what_is_no_scrape_has_no_head(data: bytes) -> None:
    with pytest.raises(InvalidMessageError):
        load_scrape_head(data)


def test_chunks_of_one_scrape_are_one_scrape() -> None:
    found = only(tail_of(scrape(), scrape(series=["d"], values=[4.0])))

    assert (found.scrapes, found.chunks, found.series, found.duration_ms) == (1, 2, 4, 42)


def test_a_failure_keeps_what_the_last_good_scrape_had() -> None:
    failures = [
        scrape(scraped_at_ms=NOW_MS + n, ok=False, error="refused", series=[], values=[]) for n in (1, 2)
    ]

    found = only(tail_of(scrape(), *failures))

    assert (found.ok, found.error, found.failed_in_row, found.series) == (False, "refused", 2, 3)
    assert (found.ok_ms, found.scraped_at_ms) == (NOW_MS, NOW_MS + 2)


def test_a_good_scrape_ends_a_row_of_failures() -> None:
    found = only(tail_of(scrape(ok=False, error="refused"), scrape(scraped_at_ms=NOW_MS + 1)))

    assert (found.failed_in_row, found.error, found.series) == (0, "", 3)


def test_an_older_scrape_changes_nothing() -> None:
    found = only(tail_of(scrape(), scrape(scraped_at_ms=NOW_MS - 1, ok=False, error="refused")))

    assert (found.ok, found.scrapes) == (True, 1)


def test_a_duration_that_is_not_told_is_none() -> None:
    assert only(tail_of(scrape(duration_ms=-1))).duration_ms is None


def test_what_was_read_before_is_not_counted_again() -> None:
    tail = tail_of(scrape())

    tail.take([record(scrape(), 0)])

    assert (only(tail).chunks, only(tail).series) == (1, 3)


def test_what_is_no_scrape_is_counted_and_spoils_nothing() -> None:
    tail = tail_of(b"rubbish", scrape(), b"\x00\x00\x00\x00\x07ZZZZ")
    tail.take([record(None, 3)])

    assert tail.unreadable == 3
    assert only(tail).series == 3


def test_the_mean_size_is_of_the_records() -> None:
    assert tail_of().mean_bytes() is None
    assert tail_of(b"12", b"1234").mean_bytes() == 3


def test_a_rate_needs_two_looks() -> None:
    rates = Rates()
    assert rates.rate("scrape") is None

    rates.note(0.0, {"scrape": 10})
    assert rates.rate("scrape") is None

    rates.note(5.0, {"scrape": 20, "event": 1})
    assert rates.rate("scrape") == 2.0
    assert rates.rate("event") is None


def test_a_rate_is_of_the_last_minute() -> None:
    rates = Rates(window_s=60.0)
    for at_s, count in ((0.0, 0), (30.0, 3_000), (90.0, 3_060)):
        rates.note(at_s, {"scrape": count})

    assert rates.rate("scrape") == 1.0


def test_a_topic_that_was_made_anew_has_no_rate() -> None:
    rates = Rates()
    rates.note(0.0, {"scrape": 500})
    rates.note(5.0, {"scrape": 3})

    assert rates.rate("scrape") is None


def test_a_look_after_a_long_pause_has_no_rate_yet() -> None:
    rates = Rates()
    rates.note(0.0, {"scrape": 0})
    rates.note(600.0, {"scrape": 1_000})

    assert rates.rate("scrape") is None


@pytest.mark.parametrize(("committed", "lag"), [(None, 90), (0, 90), (5, 90), (60, 40), (100, 0), (120, 0)])
def test_lag_counts_what_is_there_and_was_not_read(committed: int | None, lag: int) -> None:
    partition = TopicPartition("t", 0)

    assert Looked(0, {partition: 10}, {partition: 100}).lag(partition, committed) == lag


async def test_work_begins_with_a_question_and_ends_without_one() -> None:
    running = asyncio.Event()
    ended = asyncio.Event()

    async def work() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    keeper = WhileAsked("test", work, idle_s=0.05)
    assert not keeper.is_running
    keeper.ask()
    await until(ended.is_set)
    assert running.is_set()
    await until(lambda: not keeper.is_running)

    ended.clear()
    keeper.ask()
    await until(ended.is_set)
    await keeper.stop()


async def test_work_goes_on_while_it_is_asked_for_and_stops_at_once() -> None:
    begun: list[int] = []

    async def work() -> None:
        begun.append(1)
        await asyncio.Event().wait()

    keeper = WhileAsked("test", work)
    keeper.ask()
    await until(lambda: begun)
    keeper.ask()
    await keeper.stop()

    assert begun == [1]
    assert not keeper.is_running
    await keeper.stop()


async def test_work_that_fails_is_begun_again_at_the_next_question() -> None:
    begun: list[int] = []

    async def work() -> None:
        begun.append(1)
        raise RuntimeError("a bug")

    keeper = WhileAsked("test", work)
    keeper.ask()
    await until(lambda: not keeper.is_running)
    keeper.ask()
    await until(lambda: len(begun) == 2)
    await keeper.stop()


class Maker:
    """Answers that take their time, by a clock of their own."""

    def __init__(self, cost_s: float) -> None:
        self.now_s = 100.0
        self.cost_s = cost_s
        self.made = 0

    async def make(self) -> int:
        await asyncio.sleep(0)
        self.now_s += self.cost_s
        self.made += 1
        return self.made


async def test_an_answer_is_given_again_in_proportion_to_its_cost() -> None:
    maker = Maker(cost_s=0.2)
    reused = Reused(share=0.05, clock=lambda: maker.now_s)

    assert await reused.get("a", maker.make) == 1
    maker.now_s += 3.9
    assert await reused.get("a", maker.make) == 1
    assert await reused.get("b", maker.make) == 2
    maker.now_s += 4.1
    assert await reused.get("a", maker.make) == 3


async def test_even_a_dear_answer_is_made_anew() -> None:
    maker = Maker(cost_s=60.0)
    reused = Reused(clock=lambda: maker.now_s)

    await reused.get("a", maker.make)
    maker.now_s += LONGEST_S

    assert await reused.get("a", maker.make) == 2


async def test_those_who_ask_meanwhile_get_the_same_answer() -> None:
    maker = Maker(cost_s=1.0)
    reused = Reused(clock=lambda: maker.now_s)

    assert await asyncio.gather(*(reused.get("a", maker.make) for _ in range(5))) == [1] * 5


async def test_a_failure_is_not_kept_and_answers_are_bounded() -> None:
    maker = Maker(cost_s=1.0)
    reused = Reused(clock=lambda: maker.now_s)

    async def fail() -> int:
        raise RuntimeError("away")

    with pytest.raises(RuntimeError):
        await reused.get("a", fail)
    for place in range(KEPT + 1):
        await reused.get(place, maker.make)

    assert await reused.get("a", maker.make) == KEPT + 2
