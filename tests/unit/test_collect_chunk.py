"""What of a scrape is shipped, and in which records."""

from streams.collect.chunk import Chunker
from streams.collect.limits import limit
from streams.collect.target import Caps, Harvest, Target
from streams.domain.rules import RulePack, parse_series
from streams.errors import SourceError
from streams.rulebook import load_rulebook
from streams.schemas import load_codec
from streams.topics import MAX_ENTITIES, MAX_MESSAGE_BYTES

PACK = load_rulebook().packs["node_exporter"]
NOW_MS = 1_750_000_000_000


def make_target(pack: RulePack = PACK) -> Target:
    return Target("prometheus", "node_exporter", "http://prometheus:9090", pack, 5.0, 2.0)


def make_harvest(series: list[str], **more) -> Harvest:
    return Harvest(series, [float(number) for number in range(len(series))], [0] * len(series), **more)


def nodes(count: int, padding: int = 0) -> list[str]:
    return [
        line
        for number in range(count)
        for line in (
            f'node_load1{{instance="n{number}:9100",job="node",note="{"x" * padding}"}}',
            f'node_load5{{instance="n{number}:9100",job="node"}}',
            f'node_uname_info{{instance="n{number}:9100",job="node",nodename="N{number}"}}',
        )
    ]


def test_a_small_scrape_is_one_record_in_its_order() -> None:
    series = ["node_load1", "node_load5"]

    records = Chunker(make_target()).records(make_harvest(series, dropped={"unmapped": 3}), NOW_MS)

    assert records == [
        {
            "source": "node_exporter",
            "target": "http://prometheus:9090",
            "pack": "node_exporter",
            "interval_ms": 5000,
            "scraped_at_ms": NOW_MS,
            "ok": True,
            "error": "",
            "simulated": False,
            "series": series,
            "values": [0.0, 1.0],
            "times_ms": [],
            "dropped": {"unmapped": 3},
        }
    ]


def test_times_are_all_there_when_one_is() -> None:
    harvest = Harvest(["a", "b"], [1.0, 2.0], [0, NOW_MS - 3])

    assert Chunker(make_target()).records(harvest, NOW_MS)[0]["times_ms"] == [NOW_MS, NOW_MS - 3]


def test_chunks_hold_whole_groups_and_no_more_than_is_allowed() -> None:
    harvest = make_harvest(nodes(1_000), dropped={"nan": 1})

    records = Chunker(make_target()).records(harvest, NOW_MS)

    chunk_of: dict[str, int] = {}
    for number, record in enumerate(records):
        instances = {parse_series(series)[1]["instance"] for series in record["series"]}
        assert len(instances) <= MAX_ENTITIES
        assert len(load_codec("scrape").encode(record)) <= MAX_MESSAGE_BYTES
        assert len(record["series"]) == len(set(record["series"]))
        assert len(record["series"]) == 3 * len(instances)
        for instance in instances:
            assert chunk_of.setdefault(instance, number) == number
    assert len(chunk_of) == 1_000
    assert [record["dropped"] for record in records] == [{"nan": 1}] + [{}] * (len(records) - 1)


def test_chunks_stay_below_the_size_that_kafka_gets() -> None:
    records = Chunker(make_target()).records(make_harvest(nodes(180, padding=3_000)), NOW_MS)

    sizes = [len(load_codec("scrape").encode(record)) for record in records]
    assert len(records) > 1
    assert max(sizes) <= MAX_MESSAGE_BYTES


def test_values_stay_with_their_series() -> None:
    harvest = make_harvest(nodes(500))
    expected = dict(zip(harvest.series, harvest.values, strict=True))

    records = Chunker(make_target()).records(harvest, NOW_MS)

    found = {s: v for record in records for s, v in zip(record["series"], record["values"], strict=True)}
    assert found == expected


def test_info_series_are_in_every_chunk_that_is_joined_with_them() -> None:
    pack = load_rulebook().packs["decice"]
    ping = [
        f'decice_ping_latency_ms{{nodename="n1",target_type="node",target_name="n{number}"}}'
        for number in range(2, 300)
    ]
    nodes_of_ping = [
        f'decice_node_info{{nodename="n{number}",vertexpool_id="1"}}' for number in range(1, 300)
    ]
    others = [f'decice_cpu_cores{{nodename="n{number}"}}' for number in range(1, 300)]

    records = Chunker(make_target(pack)).records(make_harvest(others + ping + nodes_of_ping), NOW_MS)

    assert len(records) > 1
    with_ping = [record for record in records if ping[0] in record["series"]]
    assert len(with_ping) == 1
    assert set(ping) <= set(with_ping[0]["series"])
    assert set(nodes_of_ping) <= set(with_ping[0]["series"])
    for record in records:
        present = {parse_series(s)[1]["nodename"] for s in record["series"] if s.startswith("decice_cpu")}
        assert all(
            f'decice_node_info{{nodename="{name}",vertexpool_id="1"}}' in record["series"] for name in present
        )


def test_groups_with_an_interval_of_their_own_have_records_of_their_own() -> None:
    harvest = make_harvest(nodes(2), intervals_ms={"n1:9100": 60_000})

    records = Chunker(make_target()).records(harvest, NOW_MS)

    assert {record["interval_ms"]: record["series"] for record in records} == {
        5_000: nodes(2)[:3],
        60_000: nodes(2)[3:],
    }


def test_the_cut_follows_series_that_change() -> None:
    chunker = Chunker(make_target())
    chunker.records(make_harvest(nodes(3)), NOW_MS)

    records = chunker.records(make_harvest(nodes(2)), NOW_MS)

    assert records[0]["series"] == nodes(2)


def test_a_part_that_failed_is_a_record_that_fails_no_other_part() -> None:
    harvest = make_harvest(["node_load1"])
    harvest.failures.append(("node_cpu", SourceError("http_status", "query node_cpu: HTTP 400")))

    good, failed = Chunker(make_target()).records(harvest, NOW_MS)

    assert good["ok"]
    assert not failed["ok"]
    assert failed["target"] == "http://prometheus:9090#node_cpu"
    assert failed["error"] == "http_status: query node_cpu: HTTP 400"


def test_an_empty_scrape_is_a_record_too() -> None:
    (record,) = Chunker(make_target()).records(Harvest(dropped={"unmapped": 7}), NOW_MS)

    assert record["ok"]
    assert record["series"] == []
    assert record["dropped"] == {"unmapped": 7}


def test_limits_drop_and_count() -> None:
    nan = float("nan")
    many = "{" + ",".join(f'l{number}="="' for number in range(65)) + "}"
    enough = "{" + ",".join(f'l{number}="="' for number in range(64)) + "}"
    harvest = Harvest(
        ["a", "b", "a", "c", f"d{many}", f"d{enough}", f'e{{x="{"é" * 2100}"}}', "f", "g"],
        [1.0, nan, 2.0, 3.0, 4.0, 5.0, 6.0, float("inf"), 7.0],
        [0] * 9,
        {"unmapped": 1},
    )

    limit(harvest, Caps(samples=4))

    assert harvest.series == ["a", "c", f"d{enough}", "f"]
    assert harvest.values == [1.0, 3.0, 5.0, float("inf")]
    assert harvest.times_ms == [0] * 4
    assert harvest.dropped == {
        "unmapped": 1,
        "nan": 1,
        "duplicate": 1,
        "too_many_labels": 1,
        "series_too_long": 1,
        "over_cap": 1,
    }
