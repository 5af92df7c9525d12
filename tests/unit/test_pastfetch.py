"""Asking a server for its past: shorter ranges where it cannot bear long ones, tries again, clear errors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from streams.collect import pastfetch
from streams.collect.fetch import Answer
from streams.collect.pastfetch import FIRST_STEPS, SAMPLE_TIMES, PastFetcher, past_targets
from streams.collect.pastscrapes import Answers
from streams.collect.target import Target
from streams.domain.rules import Query, RulePack
from streams.errors import SettingsError, SourceError
from streams.rulebook import load_rulebook
from streams.settings import load_settings

T = 1_751_552_580_000
STEP = 5_000

Asked = dict[str, str]
Reply = Callable[[Asked], bytes | SourceError]


class CannedFetcher:
    """Answers as a function of the form says, and remembers what it was asked."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.asked: list[Asked] = []
        self.posts = 0

    async def fetch(self, target: Target, *, accept: str, url: URL, form: Asked | None = None) -> Answer:
        asked = dict(form or url.query) | {"path": url.path}
        self.posts += form is not None
        self.asked.append(asked)
        reply = self._reply(asked)
        if isinstance(reply, SourceError):
            raise reply
        return Answer(200, "application/json", reply, True, 0.0)


def make(reply: Reply, *promql: str) -> tuple[PastFetcher, CannedFetcher]:
    queries = tuple(Query(f"q{number}", text) for number, text in enumerate(promql or ("one",)))
    pack = RulePack("lab", 50, queries=queries)
    url = "http://alice:secret@p:9090/base/"
    target = Target("prometheus", "lab", "http://p:9090/base/", pack, 5.0, 2.0, url=url)
    fetcher = CannedFetcher(reply)
    return PastFetcher([target], fetcher), fetcher  # type: ignore[arg-type]


async def spans(past: PastFetcher, steps: int = 100) -> list[Answers]:
    return [answers async for answers in past.spans(T, T + (steps - 1) * STEP, STEP)]


def steps_of(asked: Asked) -> int:
    return round((float(asked["end"]) - float(asked["start"])) / float(asked["step"])) + 1


def refusal(status: int, text: str) -> SourceError:
    body = json.dumps({"status": "error", "errorType": "execution", "error": text})
    return SourceError("http_status", f"HTTP {status} Some Phrase: {body}")


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pastfetch, "WAITS_S", (0.0, 0.0))


async def test_ranges_follow_each_other_without_gap_or_overlap() -> None:
    past, fetcher = make(lambda _: b"{}")

    found = await spans(past, 500)

    times = [time_ms for answers in found for time_ms in answers.span.times_ms()]
    assert times == [T + number * STEP for number in range(500)]
    assert {asked["path"] for asked in fetcher.asked} == {"/base/api/v1/query_range"}
    assert {asked["query"] for asked in fetcher.asked} == {"one", SAMPLE_TIMES}
    assert found[0].replies == [("lab/http://p:9090/base/", "q0", b"{}")]


async def test_long_answers_make_shorter_ranges_and_short_ones_longer() -> None:
    past, _ = make(lambda asked: b"x" * (steps_of(asked) * 100_000))
    assert [answers.span.steps for answers in await spans(past, 140)] == [60, 30, 30, 20]

    past, _ = make(lambda _: b"")
    assert [answers.span.steps for answers in await spans(past, 2_000)] == [60, 120, 240, 480, 720, 380]


@pytest.mark.parametrize(
    "error",
    [
        refusal(422, "query processing would load too many samples into memory in query execution"),
        refusal(400, "exceeded maximum resolution of 11,000 points per timeseries"),
        refusal(503, "query timed out in expression evaluation"),
        SourceError("timeout", "no answer within 30 s"),
        SourceError("too_large", "the answer is longer than caps.body_bytes"),
    ],
)
async def test_a_server_that_cannot_bear_a_range_is_asked_for_half_of_it(error: SourceError) -> None:
    past, _ = make(lambda asked: error if steps_of(asked) > 20 else b"")

    assert [answers.span.steps for answers in await spans(past, 40)] == [20, 20]
    assert past.refused == {}


async def test_a_server_that_cannot_give_one_step_is_given_up() -> None:
    past, fetcher = make(lambda _: SourceError("timeout", "no answer within 30 s"))

    with pytest.raises(SourceError, match="no answer within 30 s, for a single step"):
        await spans(past)

    assert {steps_of(asked) for asked in fetcher.asked} == {60, 30, 15, 7, 3, 1}


async def test_a_query_that_the_server_refuses_is_left_out_and_named() -> None:
    past, _ = make(
        lambda asked: refusal(422, "many-to-many") if asked["query"] == "two" else b"", "one", "two"
    )

    found = await spans(past, FIRST_STEPS)

    assert [name for _, name, _ in found[0].replies] == ["q0"]
    assert list(past.refused) == ["lab q1"]
    assert "many-to-many" in past.refused["lab q1"]


async def test_a_server_that_refuses_all_queries_is_an_error() -> None:
    past, _ = make(lambda asked: b"" if asked["query"] == SAMPLE_TIMES else refusal(400, "no such function"))

    with pytest.raises(SourceError, match="no such function"):
        await spans(past)


async def test_a_server_that_never_was_there_is_an_error_at_once() -> None:
    past, fetcher = make(lambda _: SourceError("connect", "cannot connect to p:9090: alice secret"))

    with pytest.raises(SourceError, match=r"http://p:9090/base/: cannot connect to p:9090") as caught:
        await spans(past)

    assert len(fetcher.asked) == 2
    assert "secret" not in str(caught.value)


async def test_a_server_that_is_away_for_a_moment_is_asked_again() -> None:
    away = iter([None, None, refusal(502, "bad gateway"), None, None])
    past, _ = make(lambda _: next(away) or b"")

    assert len(await spans(past, 2 * FIRST_STEPS)) == 2


async def test_a_server_that_stays_away_is_given_up() -> None:
    asked = 0

    def reply(_: Asked) -> bytes | SourceError:
        nonlocal asked
        asked += 1
        return b"" if asked <= 2 else SourceError("incomplete", "the connection was closed")

    past, _ = make(reply)

    with pytest.raises(SourceError, match="the connection was closed"):
        await spans(past, 2 * FIRST_STEPS)

    assert asked == 2 + 2 * 3


async def test_a_wrong_path_is_no_reason_to_wait() -> None:
    past, fetcher = make(lambda _: refusal(404, "page not found"))

    with pytest.raises(SourceError, match="404"):
        await spans(past)

    assert len(fetcher.asked) == 2


async def test_a_long_query_is_posted() -> None:
    past, fetcher = make(lambda _: b"", "x" * 3_000)

    await spans(past, 1)

    assert fetcher.posts == 1


PACKS = load_rulebook().packs


def test_without_a_configuration_a_server_is_asked_what_the_collector_would_ask() -> None:
    targets = past_targets(load_settings(), PACKS, "http://p:9090", (), 0)

    assert {"node_exporter", "decice"} < {target.pack.name for target in targets}
    assert {target.name for target in targets} == {"http://p:9090"}
    assert {target.interval_ms for target in targets} == {5_000}


def test_a_configured_server_keeps_its_names_and_headers(tmp_path: Path) -> None:
    config = tmp_path / "twin.yaml"
    config.write_text(
        "sources:\n"
        "  - {kind: prometheus, url: 'http://p:9090', name: mine, pack: node_exporter, interval_s: 15,"
        " headers: {X-Scope: me}}\n"
        "  - {kind: prometheus, url: 'http://other:9090', pack: node_exporter, name: other}\n"
    )

    (target,) = past_targets(load_settings(config=config), PACKS, "http://p:9090/", (), 0)

    assert (target.source, target.interval_ms, list(target.headers)) == ("mine", 15_000, ["X-Scope"])


def test_packs_and_step_can_be_chosen() -> None:
    settings = load_settings(prometheus_urls="http://p:9090")

    targets = past_targets(settings, PACKS, "http://p:9090", ("node_exporter",), 30_000)

    assert [(target.pack.name, target.interval_ms) for target in targets] == [("node_exporter", 30_000)]


def test_a_pack_that_the_configuration_does_not_name_is_asked_for_as_well(tmp_path: Path) -> None:
    config = tmp_path / "twin.yaml"
    config.write_text("sources:\n  - {kind: prometheus, url: 'http://p:9090', pack: node_exporter}\n")

    targets = past_targets(load_settings(config=config), PACKS, "http://p:9090", ("slurm",), 0)

    assert [target.pack.name for target in targets] == ["slurm"]


@pytest.mark.parametrize(
    ("name", "text"), [("strange", "unknown rule pack 'strange'; known: "), ("decice_v2", "has no queries")]
)
def test_a_pack_that_cannot_be_asked_for_is_named(name: str, text: str) -> None:
    settings: Any = load_settings()

    with pytest.raises(SettingsError, match=text):
        past_targets(settings, PACKS, "http://p:9090", (name,), 0)
