import pytest

from streams.domain.lint import lint
from streams.rulebook import RuleBook
from tests.rulepacks import make_book

RULES = """\
rules:
  - {metric: mem_total_bytes, series: size_mb}
  - {metric: mem_available_bytes, series: free_mb, from_unit: MB}
  - {metric: disk_total_bytes, series: disk_gb, from_unit: GiB}
  - {metric: cpu_usage_percent, series: busy_seconds_total, form: counter}
  - {metric: network_receive_bytes_per_s, series: received_bytes_total}
  - {metric: gpu_usage_percent, series: gpu_Hz, from_unit: "%"}
  - {metric: gpu_count, series: gpu_watts, aggregate: count}
  - {metric: fan_speed_rpm, series: fan_volts}
  - {metric: up, series: state_seconds, value: 1}
  - {metric: mem_usage_percent, formula: 100 * used_mb / size_mb}
  - {metric: load1, series: 'node_load1{x="1"}'}
attributes:
  - {series: about_seconds, set: {x: y}}
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> RuleBook:
    return make_book(tmp_path_factory.mktemp("rules"), RULES)


def texts(book: RuleBook, series: list[str], what: str) -> list[str]:
    return [
        finding.text for finding in lint(book.packs["test"], book.catalogue, series) if finding.what == what
    ]


@pytest.mark.parametrize(
    ("series", "clash"),
    [
        ("size_mb", "its name says MB, rule {}:8 takes it as B for mem_total_bytes"),
        ("free_mb", None),
        ("disk_gb", "its name says GB, rule {}:10 takes it as GiB for disk_total_bytes"),
        ("busy_seconds_total", "its name says s, rule {}:11 takes it as %·s for cpu_usage_percent"),
        ("received_bytes_total", None),
        ("gpu_Hz", None),
        ("gpu_watts", None),
        ("fan_volts", "its name says V, rule {}:15 takes it as rpm for fan_speed_rpm"),
        ("state_seconds", None),
        ("used_mb", None),
        ("about_seconds", None),
        ("node_load1", None),
    ],
)
def test_a_name_that_says_another_unit_is_a_fault(book: RuleBook, series: str, clash: str | None) -> None:
    found = lint(book.packs["test"], book.catalogue, [f'{series}{{node="a"}}'])

    faults = [finding for finding in found if finding.fault]
    if clash is None:
        assert faults == []
    else:
        (fault,) = faults
        place = book.packs["test"].place.rpartition(":")[0]
        assert fault.what == "unit"
        assert fault.text.startswith(
            f"{series}: {clash.format(place)}; if the name is right, say from_unit: "
        )


def test_metrics_that_no_rule_knows_are_named_with_what_may_be_meant(book: RuleBook) -> None:
    assert texts(book, ['free_mbs{node="a"}', 'free_mbs{node="b"}', "else"], "unknown metric") == [
        "free_mbs: 2 series; the pack has 'free_mb', which is not in this scrape",
        "else: 1 series",
    ]


def test_series_whose_labels_no_rule_takes_are_named(book: RuleBook) -> None:
    series = ['node_load1{node="a",x="1"}', 'node_load1{node="a",x="2"}']

    assert texts(book, series, "unmapped series") == [
        "node_load1: 1 of 2 series are taken by no rule: their labels differ"
    ]


def test_metrics_that_the_scrape_does_not_give_are_named_with_what_is_missing(book: RuleBook) -> None:
    missing = texts(book, ['size_mb{node="a"}'], "not given")

    assert "mem_usage_percent: would need used_mb and size_mb" in missing
    assert not any(text.startswith("mem_total_bytes") for text in missing)


def test_entities_without_a_name_and_broken_series_are_faults(book: RuleBook) -> None:
    found = lint(book.packs["test"], book.catalogue, ["size_mb", "size_mb{"])

    assert [(finding.fault, finding.what) for finding in found[:2]] == [(True, "series"), (True, "unnamed")]


def test_the_packs_of_the_twin_agree_with_the_names_of_their_series(book: RuleBook) -> None:
    for pack in book.packs.values():
        if pack.name == "test":
            continue
        names = {source.selector.name for rule in pack.rules for source in rule.inputs} - {""}
        found = lint(pack, book.catalogue, sorted(names))
        assert [finding.text for finding in found if finding.what == "unit"] == [], pack.name
