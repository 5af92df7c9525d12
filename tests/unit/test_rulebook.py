from pathlib import Path

import pytest

from streams.domain.rules import Query
from streams.domain.template import FILTERS
from streams.domain.units import UNITS
from streams.errors import InvalidRuleError
from streams.rulebook import load_rulebook
from tests.rulepacks import attributes_of, make_book, make_scrape, run, values_of, write_pack

ORIGINAL = """\
pack: mine
doc: What a user writes.
priority: 5
group: [node]
metrics:
  queue_length:
    {unit: "1", kind: gauge, range: [0, null], doc: Length of the queue.}
entities:
  node: {id: "{node}"}
rules:
  - {metric: queue_length, series: my_queue}
"""


def faults(folder: Path, text: str, name: str = "mine.yaml") -> list[str]:
    """The faults of one file, by their lines."""
    path = folder / name
    path.write_text(text)
    with pytest.raises(InvalidRuleError) as caught:
        load_rulebook([path])
    return [line.replace(f"{folder}/", "") for line in str(caught.value).splitlines()]


def test_the_packs_of_the_twin_are_without_fault() -> None:
    book = load_rulebook()

    assert set(book.packs) >= {
        "node_exporter", "decice", "decice_v2", "kube_state_metrics", "slurm", "dcgm", "power", "host"
    }  # fmt: skip
    assert all(metric.help for metric in book.catalogue.values())
    assert book.catalogue.ceilings()["cpu_usage_percent"] == 100.0
    assert "network_receive_bytes_per_s" not in book.catalogue.ceilings()
    assert book.catalogue.units()["cpu_usage_percent"] == "%"


def test_no_two_metrics_share_a_column_of_influxdb() -> None:
    catalogue = load_rulebook().catalogue

    columns = list(catalogue.fields().values())
    assert len(columns) == len(set(columns)) == len(catalogue)


def test_a_pack_and_metrics_of_a_user_are_added(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(ORIGINAL)

    book = load_rulebook([tmp_path])

    assert book.catalogue["queue_length"].measurement == "queue_length"
    assert book.packs["mine"].priority == 5
    scrape = make_scrape([('my_queue{node="a"}', 3.0)], pack="mine")
    assert values_of(run(book.packs, book.catalogue, scrape)) == {("node", "a", "queue_length"): 3.0}


def test_metrics_alone_are_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "more.yml").write_text('metrics: {x: {unit: "1", doc: X.}}\n')

    assert load_rulebook([tmp_path]).catalogue["x"].kind == "gauge"


def test_a_pack_replaces_another_only_on_demand(tmp_path: Path) -> None:
    text = ORIGINAL.replace("pack: mine", "pack: dcgm")

    (fault,) = faults(tmp_path, text)
    assert fault.startswith("mine.yaml:1: pack 'dcgm' is there already (streams/rules/dcgm.yaml:")

    (tmp_path / "mine.yaml").write_text(text + "replace: true\n")
    assert load_rulebook([tmp_path]).packs["dcgm"].help == "What a user writes."


def test_all_faults_of_all_files_come_at_once_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ORIGINAL.replace("metric: queue_length", "metric: queue_lenght"))
    (tmp_path / "b.yaml").write_text("pack: two\nrules: [\n")
    (tmp_path / "c.yaml").write_text("just text\n")

    with pytest.raises(InvalidRuleError) as caught:
        load_rulebook([tmp_path])

    assert str(caught.value).replace(f"{tmp_path}/", "").splitlines() == [
        "a.yaml:11: metric 'queue_lenght' is not in the catalogue",
        "b.yaml:3: not YAML: did not find expected node content",
        "c.yaml:1: must be a mapping with `pack:` or `metrics:`",
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("priority: 5", "priority: high", "3: 'priority' must be a number, not 'high'"),
        ("priority: 5", "priority: .inf", "3: 'priority' must be a number, not '.inf'"),
        ("priority: 5", "priority: 1e999", "3: 'priority' must be finite"),
        ("priority: 5", "priorty: 5", "3: unknown key 'priorty'; did you mean 'priority'?"),
        ("priority: 5", "colour: 5", "3: unknown key 'colour'; known: attributes, doc, document, entities,"),
        ("priority: 5", "priority: 5\npriority: 6", "4: not YAML: 'priority' is there twice"),
        ("priority: 5", "[1]: 5", "3: not YAML: a key must be a word"),
        ("group: [node]", "", "1: 'group' is missing"),
        ("group: [node]", "group: 7", "4: 'group' must be a text, or a list of texts, not 7"),
        ("group: [node]", "group: [7]", "4: 'group' must be texts, not 7"),
        ("group: [node]", 'group: ["{a"]', "4: group: not a template: '{a'"),
        ("group: [node]", "group: [node]\ngroups: [{series: a}]", "5: 'by' is missing"),
        ('unit: "1"', "unit: furlong", "7: unknown unit 'furlong'; known: 1, %, B,"),
        ("kind: gauge", "kind: gage", "7: 'kind' must be one of gauge, state, counter, not 'gage'"),
        ("[0, null]", "[0]", "7: 'range' must be [least, greatest]; write null for no limit"),
        ("[0, null]", "[true, 1]", "7: 'range' must be [least, greatest]; write null for no limit"),
        ("[0, null]", "[2, 1]", "7: 'range': 2 is above 1"),
        (", doc: Length of the queue.", "", "7: 'doc' is missing"),
        ("doc: Length", "influx: x, doc: Length", "7: 'influx' must be measurement.field, not 'x'"),
        ("  queue_length:", "  up: {unit: B, doc: X}\n  queue_length:", "6: metric 'up' is in the catalogue"),
        ("  queue_length:\n", "  up: 3\n  queue_length:\n", "6: 'up' must be a mapping, not 3"),
        ("  node: {id", "  server: {id", "9: 'kind' is missing, and 'server' is not one of"),
        ('"{node}"', '"{node|loud}"', "9: id: unknown filter 'loud'; known: lower,"),
        ('{id: "{node}"}', "{}", "9: 'id' is missing"),
        ('{id: "{node}"}', "3", "9: 'node' must be a mapping, not 3"),
        ('{id: "{node}"}', '{id: a, attributes: {x: "{"}}', "9: x: not a template: '{'"),
        ("rules:\n  - {", "rules: 3\nx:\n  - {", "10: 'rules' must be a list, not 3"),
        ("  - {metric", "  - 3\n  - {metric", "11: 'rules' must be mappings, not 3"),
        ("metric: queue_length, ", "", "11: 'metric' is missing"),
        ("series: my_queue", "series: 'my_queue{'", "11: series: not a selector: 'my_queue{'"),
        ("series: my_queue", "series: ''", "11: 'series' is empty"),
        ("series: my_queue", "entity: node", "11: a rule needs `series` or `formula`, and not both"),
        ("series: my_queue", "series: a, formula: b", "11: a rule needs `series` or `formula`, and not both"),
        ("series: my_queue", "formula: a ** b", "11: formula: 'a ** b' is not allowed;"),
        ("series: my_queue", "formula: a, aggregate: sum", "11: in a formula the `inputs` are aggregated:"),
        ("series: my_queue", "formula: a, inputs: {b: c}", "11: unknown key 'b'; known: a"),
        ("series: my_queue", "formula: a, inputs: {a: 7}", "11: 'a' must be a text, not 7"),
        ("series: my_queue", "formula: a, inputs: {a: {aggregate: sum}}", "11: 'series' is missing"),
        ("series: my_queue", "series: a, inputs: {b: c}", "11: `inputs` are those of a `formula`"),
        ("series: my_queue", "series: a, aggregate: total", "11: 'aggregate' must be one of sum,"),
        ("series: my_queue", "series: a, aggregate: sum(b)", "11: 'aggregate' must be one of sum,"),
        ("series: my_queue", "series: a, aggregate: count_distinct()", "11: 'aggregate' must be one of sum,"),
        ("series: my_queue", "series: a, from_unit: MiB", "11: 'MiB' is byte, not convertible to '1'"),
        ("series: my_queue", "series: a, form: rate", "11: 'form' must be one of gauge, state,"),
        ("series: my_queue", "series: a, entity: nod", "11: unknown entity 'nod'; this pack has node"),
        ("series: my_queue", "series: a, optional: yes", "11: 'optional' must be true or false, not 'yes'"),
        ("metric: queue_length", "form: counter, metric: temperature_celsius", "11: a counter cannot give"),
        ("rules:\n", "joins: [{on: [[a]], add: {b: c}}]\nrules:\n", "10: 'info' is missing"),
        ("rules:", "joins: [{info: a, on: [7], add: {b: c}}]\nrules:", "10: 'on' must be lists of labels"),
        ("rules:\n", "joins: [{info: a}]\nrules:\n", "10: 'add' is missing"),
        ("rules:\n", "queries: [{promql: a}]\nrules:\n", "10: 'name' is missing"),
        ("rules:", "queries: [{name: a, promql: b}, {name: a, promql: c}]\nrules:", "10: two queries are"),
        ("rules:", "attributes: [{series: a}]\nrules:", "10: 'set' is missing, and the entity has no"),
        ("rules:\n", "attributes: [{set: {x: y}}]\nrules:\n", "10: 'series' is missing"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_line(tmp_path: Path, old: str, new: str, fault: str) -> None:
    assert old in ORIGINAL

    found = faults(tmp_path, ORIGINAL.replace(old, new, 1))

    assert any(line.startswith(f"mine.yaml:{fault}") for line in found), found


def test_a_pack_without_entities_or_rules_is_refused(tmp_path: Path) -> None:
    assert faults(tmp_path, "pack: x\ngroup: [a]\n") == [
        "mine.yaml:1: 'entities' is missing",
        "mine.yaml:1: a pack needs `rules` or `attributes`",
    ]
    assert "mine.yaml:1: 'pack' is missing" in faults(tmp_path, ORIGINAL.replace("pack: mine", "pack:"))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00x")
    empty = tmp_path / "empty"
    empty.mkdir()

    with pytest.raises(InvalidRuleError) as caught:
        load_rulebook([tmp_path / "bytes.yaml", tmp_path / "nope.yaml", empty])

    lines = str(caught.value).replace(f"{tmp_path}/", "").splitlines()
    assert lines[0].startswith("bytes.yaml:1: not ")
    assert lines[1:] == [
        "empty:1: no *.yaml in this folder",
        "nope.yaml:1: cannot be read: No such file or directory",
    ]


def test_on_no_and_dates_are_texts(tmp_path: Path) -> None:
    book = make_book(
        tmp_path,
        "joins: [{info: i, on: [[no]], add: {on: off}}]\n"
        "rules: [{metric: load1, series: load}]\n"
        'attributes: [{series: load, set: {since: 2024-01-01, at: 12:30, x: "{on}"}}]\n',
    )

    scrape = make_scrape([('i{no="1",off="there"}', 1.0), ('load{no="1",node="a"}', 1.0)])
    ((_, observation),) = run(book.packs, book.catalogue, scrape).observations

    assert observation["attributes"] == [{"since": "2024-01-01", "at": "12:30", "x": "there"}]


def test_without_queries_all_series_that_the_rules_name_are_asked_for_together(tmp_path: Path) -> None:
    rules = r"""
joins: [{info: about, on: [[a]], add: {nodename: b}}]
rules:
  - {metric: load1, series: load}
  - {metric: load5, formula: five - load}
  - {metric: disk_total_bytes, series: 'size{mountpoint="/"}'}
  - {metric: disk_free_bytes, series: 'free{mountpoint="/"}'}
  - {metric: fan_speed_rpm, series: '{__name__=~"fan_.*",x!="a\"b"}'}
"""

    book = make_book(tmp_path, rules)

    assert book.packs["test"].queries == (
        Query("test", '{__name__=~"load|five|about"}'),
        Query("test.1", '{__name__=~"size|free",mountpoint="/"}'),
        Query("test.2", '{__name__=~"fan_.*",x!="a\\"b"}'),
    )


def test_a_pack_knows_what_it_wants_and_what_belongs_together(tmp_path: Path) -> None:
    rules = r"""
groups:
  - {series: '{__name__=~"sum_.*"}', by: []}
  - {series: 'pool{x="1"}', by: ["{pool|lower}"]}
joins: [{info: about, on: [[a]], add: {nodename: b}}]
rules: [{metric: load1, series: load}, {metric: load5, series: '{__name__=~"sum_.*"}', aggregate: sum}]
attributes: [{series: label, set: {x: y}}]
"""

    book = make_book(tmp_path, rules)

    pack = book.packs["test"]

    assert [pack.wants(name) for name in ("load", "sum_a", "about", "label", "else")] == [True] * 4 + [False]
    assert pack.is_info('about{a="1"}')
    assert not pack.is_info("load")
    assert pack.group_of('load{node="a"}') == "a"
    assert pack.group_of('load{x="a"}') == pack.group_of("load") == pack.group_of('sum_a{node="a"}') == ""
    assert pack.group_of('pool{node="a",pool="P",x="1"}') == "p"
    assert not any(other.is_info("up") for name, other in book.packs.items() if name == "host")


def test_what_is_remembered_of_names_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.domain.rules.NAMES_MAX", 3)
    pack = make_book(tmp_path, "rules: [{metric: load1, series: load}]").packs["test"]

    assert [pack.wants(f"load{n}") for n in range(9)] == [False] * 9
    assert pack.wants("load")
    assert len(pack._wanted) <= 3


def test_a_rule_names_its_place(tmp_path: Path) -> None:
    path = write_pack(tmp_path, "rules:\n  - metric: load1\n    series: load\n")

    (rule,) = load_rulebook([path]).packs["test"].rules

    assert rule.place == f"{path}:8"


def test_the_example_of_the_documentation_is_a_pack(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    example = text.split("## The whole of it in one example")[1].split("```yaml\n")[1].split("```")[0]
    (tmp_path / "weather.yaml").write_text(example)

    book = load_rulebook([tmp_path])

    scrape = make_scrape(
        [
            ('air_temperature_kelvin{station="S1"}', 300.0),
            ('station_memory_free_bytes{station="S1",zone="a"}', 1.0),
            ('station_memory_free_bytes{station="S1",zone="b"}', 2.0),
            ('station_memory_bytes{station="S1"}', 12.0),
            ('station_info{building="hall",station="S1"}', 1.0),
            ('station_state{state="wet",station="S1"}', 1.0),
        ],
        pack="weather",
    )
    result = run(book.packs, book.catalogue, scrape)
    assert values_of(result) == {
        ("device", "s1", "temperature_celsius"): pytest.approx(26.85),
        ("device", "s1", "mem_usage_percent"): 75.0,
    }
    assert attributes_of(result) == {("device", "s1"): {"roof": "hall", "state": "wet"}}


def test_the_documentation_names_every_unit_filter_and_pack() -> None:
    text = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    words = set(text.replace("`", " ").split())

    assert set(UNITS) - {"%·s"} <= words
    assert set(FILTERS) | set(load_rulebook().packs) <= words
