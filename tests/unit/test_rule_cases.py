"""Each folder of tests/cases/rules/<pack>/<case> is real input and what must come of it.

input.prom is an exposition, input.json a document, input.promql.json the answers to a pack's queries by their
names. With UPDATE_CASES=1 in the environment expected.json is written anew: then read the difference.
"""

import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from streams.collect.exposition import parse_exposition
from streams.collect.json_api import read_document, validator_of
from streams.collect.promql import read_answer, read_vector
from streams.domain.harmonize import Harmonized, Harmonizer
from streams.domain.rules import FORMS, RulePack, format_series
from streams.records import Scrape
from streams.rulebook import load_rulebook

CASES = Path(__file__).parent.parent / "cases" / "rules"
SCRAPED_AT_MS = 1_751_552_590_000
BOOK = load_rulebook()
FORM_NAMES = {number: name for name, number in FORMS.items()}

Read = tuple[list[str], list[float], list[int]]


@pytest.mark.parametrize(
    "case", sorted(CASES.glob("*/*")), ids=lambda case: f"{case.parent.name}/{case.name}"
)
def test_scrape_gives_what_the_case_says(case: Path) -> None:
    pack = BOOK.packs[case.parent.name]
    series, values, times_ms = read_input(case, pack)
    scrape = Scrape(
        source=pack.name,
        target="http://target.example:9100/metrics",
        pack=pack.name,
        interval_ms=5_000,
        scraped_at_ms=SCRAPED_AT_MS,
        ok=True,
        error="",
        simulated=False,
        series=series,
        values=values,
        times_ms=times_ms,
        dropped={},
    )

    result = Harmonizer(BOOK.packs, BOOK.catalogue, 12).harmonize(
        scrape, partition=3, offset=7, at_ms=SCRAPED_AT_MS
    )

    found = summary(result)
    expected = case / "expected.json"
    if os.environ.get("UPDATE_CASES"):
        expected.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    assert found == json.loads(expected.read_text())


def test_every_pack_has_two_cases() -> None:
    counts = {name: len(list((CASES / name).glob("*/expected.json"))) for name in BOOK.packs}

    assert {name for name, count in counts.items() if count < 2} == set()


def read_input(case: Path, pack: RulePack) -> Read:
    if (case / "input.prom").exists():
        found = parse_exposition((case / "input.prom").read_text(), pack.wants)
        times_ms = found.times_ms if any(found.times_ms) else []
        return found.series, found.values, times_ms
    if (case / "input.json").exists():
        assert pack.document is not None
        document = json.loads((case / "input.json").read_text())
        harvest = read_document(document, pack.document, validator_of(pack.document))
        assert harvest.dropped == {}
        return harvest.series, harvest.values, harvest.times_ms
    return read_answers(json.loads((case / "input.promql.json").read_text()), pack)


def read_answers(answers: dict[str, Any], pack: RulePack) -> Read:
    series: list[str] = []
    values: list[float] = []
    times_ms: list[int] = []
    assert set(answers) <= {query.name for query in pack.queries}
    for name, answer in answers.items():
        reply = read_vector(read_answer(json.dumps(answer).encode())[0])
        series += [format_series(labels.pop("__name__", name), labels) for labels in reply.labels]
        values += reply.values
        times_ms += reply.evaluated_ms
    return series, values, times_ms


def summary(result: Harmonized) -> dict[str, Any]:
    entities: dict[str, Any] = {}
    for _, observation in result.observations:
        place = 0
        for kind, id, size, attributes in zip(
            observation["kinds"],
            observation["ids"],
            observation["sizes"],
            observation["attributes"],
            strict=True,
        ):
            metrics: dict[str, list[Any]] = {}
            for sample in range(place, place + size):
                metric = observation["metrics"][sample]
                form = FORM_NAMES[observation["forms"][metric]]
                value, time_ms = observation["values"][sample], observation["times_ms"][sample]
                metrics[observation["names"][metric]] = [value, form, time_ms]
            place += size
            assert f"{kind}/{id}" not in entities, "an entity is in two observations of one scrape"
            entities[f"{kind}/{id}"] = {"attributes": attributes, "metrics": metrics}
    rejected = defaultdict(list)
    for rejection in result.rejected:
        rejected[rejection.reason].append(rejection.error)
    return {
        "entities": dict(sorted(entities.items())),
        "rejected": dict(sorted(rejected.items())),
        "unmapped": dict(sorted(result.unmapped.items())),
    }
