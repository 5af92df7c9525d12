"""How the entities of a scrape are shared among observations and partitions."""

import pytest

from streams.domain.keys import entity_key, partition_of
from streams.domain.observation import check_observation
from streams.rulebook import RuleBook
from streams.schemas import load_codec
from tests.rulepacks import LAB_RULES, make_book, make_scrape, run, values_of


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> RuleBook:
    return make_book(tmp_path_factory.mktemp("rules"), LAB_RULES)


def test_each_entity_goes_to_its_partition(book: RuleBook) -> None:
    scrape = make_scrape([(f'load{{node="n{n}"}}', float(n)) for n in range(500)])

    result = run(book.packs, book.catalogue, scrape, partitions=12)

    assert len(values_of(result)) == 500
    for partition, observation in result.observations:
        check_observation(observation)
        assert {partition_of(entity_key("live", "node", id), 12) for id in observation["ids"]} == {partition}
    assert sorted({partition for partition, _ in result.observations}) == list(range(12))


def test_an_observation_has_at_most_200_entities(book: RuleBook) -> None:
    scrape = make_scrape([(f'load{{node="n{n}"}}', float(n)) for n in range(401)])

    result = run(book.packs, book.catalogue, scrape)

    assert [len(observation["ids"]) for _, observation in result.observations] == [200, 200, 1]


def test_an_observation_stays_below_256_kib(book: RuleBook) -> None:
    scrape = make_scrape([(f'about{{node="n{n}",system="{"x" * 4000}"}}', 1.0) for n in range(100)])

    result = run(book.packs, book.catalogue, scrape)

    sizes = [len(load_codec("observation").encode(observation)) for _, observation in result.observations]
    assert sum(len(observation["ids"]) for _, observation in result.observations) == 100
    assert len(sizes) > 1
    assert max(sizes) < 256 * 1024
