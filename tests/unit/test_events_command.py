import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from streams.rulebook import load_rulebook
from streams.settings import Settings
from streams.tools import eventfile
from streams.tools.eventfile import Document, read_documents
from streams.tools.events import events, lint

CREATE = {"type": "world.create", "world": "w1", "body": {"owner": "me"}}
DROP = {"type": "world.drop", "world": "w1"}
BY_LABEL = {
    "type": "fault.start",
    "world": "live~w1",
    "body": {"kind": "node_down", "selector": {"kind": "node", "labels": {"arch": "arm64"}}},
}


def run(*words: str, content: str | bytes | None = None) -> Result:
    return CliRunner().invoke(events, words, obj=Settings.model_construct(config=None), input=content)


def documents(content: str | bytes, name: str = "-") -> list[Document]:
    data = content if isinstance(content, bytes) else content.encode()
    return list(read_documents(name, io.BytesIO(data)))


@pytest.mark.parametrize(
    ("content", "name", "places"),
    [
        (json.dumps(CREATE), "-", ["1"]),
        (json.dumps(CREATE, indent=1), "-", ["1"]),
        (f"\n{json.dumps(CREATE)}\n\n{json.dumps(DROP)}", "-", ["2", "4"]),
        (json.dumps([CREATE, DROP]), "-", ["[0]", "[1]"]),
        (json.dumps([CREATE, DROP], indent=1), "a.json", ["[0]", "[1]"]),
        ("# a scenario\n- {a: 1}\n- b: 2\n\n- c: 3\n", "-", ["2", "3", "5"]),
        ("# one\ntype: world.drop\nworld: w1\n", "-", ["2"]),
        ('{"type": world.drop}', "a.yaml", ["1"]),
        ("\ufeff" + json.dumps(DROP), "-", ["1"]),
        ("\ufeff" + json.dumps([DROP]), "-", ["[0]"]),
    ],
)
def test_json_lines_arrays_and_yaml_are_told_apart(content: str, name: str, places: list[str]) -> None:
    found = documents(content, name)

    assert [document.place for document in found] == places
    assert not [document.fault for document in found if document.fault]


@pytest.mark.parametrize(
    ("content", "name", "place", "fault"),
    [
        ("", "-", "1", "it is empty"),
        ("\n \n", "a.yaml", "1", "it is empty"),
        ("[]", "-", "1", "the array is empty"),
        ("[]", "a.yaml", "1", "the list is empty"),
        ('{"a": 1}\n{"a":\n', "-", "2", "not JSON"),
        ('{"a": \n{"a": 1}\n', "a.jsonl", "1", "not JSON"),
        ('[{"a": 1},\n{"a": 1 "b"}]', "-", "2", "not JSON"),
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "-", "1", "'c' is there twice"),
        ("a: 1\na: 2\n", "-", "2", "'a' is there twice"),
        ("a: 1\nb: [\n", "-", "3", "not YAML"),
        ("!!python/object:os.system {}", "-", "1", "not YAML"),
        (b"a: \xff", "-", "1", "not YAML"),
        (b'{"a": 1}\n{"a": "\xff"}', "-", "2", "not JSON"),
        ("[" * 100_000, "-", "1", "nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(
    content: str | bytes, name: str, place: str, fault: str
) -> None:
    (found,) = [document for document in documents(content, name) if document.fault]

    assert found.place == place
    assert fault in found.fault


def test_a_long_file_that_is_no_json_lines_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eventfile, "MAX_WHOLE_BYTES", 100)
    long = [DROP] * 10

    assert "write it as JSON Lines" in documents(json.dumps(long))[0].fault
    assert len(documents("\n".join(map(json.dumps, long)))) == 10


def test_lint_counts_what_is_right(tmp_path: Path) -> None:
    file = tmp_path / "events.json"
    file.write_text(json.dumps([CREATE, DROP, CREATE]))

    result = run("lint", str(file))

    assert result.exit_code == 0
    assert result.stdout == f"{file}: ok: 3 events: 2 world.create, 1 world.drop\n"


def test_lint_says_every_fault_with_its_place_and_field() -> None:
    wrong: list[Any] = [
        CREATE | {"world": "live"},
        CREATE | {"body": {"owner": "", "colour": "red"}},
        7,
        CREATE | {"id": "a"},
        DROP | {"id": "a"},
        DROP | {"id": "a", "world": "w2"},
    ]

    result = run("lint", "-", content="\n".join(map(json.dumps, wrong)))

    assert result.exit_code == 1
    assert [line.split(": ")[:2] for line in result.stderr.splitlines()] == [
        ["-:1", "world"],
        ["-:2", "body.owner"],
        ["-:2", "body.colour"],
        ["-:3", "event"],
        ["-:5", "id"],
    ]
    assert result.stdout == ""


def test_what_only_the_web_role_resolves_is_right_but_not_for_kafka() -> None:
    result = run("lint", "-", content=json.dumps(BY_LABEL))
    found = lint("-", io.BytesIO(json.dumps(BY_LABEL).encode()), load_rulebook().catalogue, for_kafka=True)

    assert result.exit_code == 0
    assert "POST them to /twin/v1/events" in result.stdout
    assert found.faults == 1


def test_an_event_that_is_too_large_is_a_fault() -> None:
    entities = [
        {"kind": "job", "id": str(number), "attributes": {"script": "x" * 90_000}} for number in range(3)
    ]
    event = {"type": "entity.set", "world": "w1", "body": {"entities": entities}}

    result = run("lint", "-", content=json.dumps(event))

    assert result.exit_code == 1
    assert "use several events" in result.stderr


def test_metrics_of_a_rule_pack_of_ones_own_are_known(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(
        "metrics:\n  oven: {unit: °C, kind: gauge, range: [0, 900], influx: oven.c, doc: How hot.}\n"
    )
    config = tmp_path / "twin.yaml"
    config.write_text(f"rule_packs: [{tmp_path / 'rules.yaml'}]\n")
    entity = {"kind": "node", "id": "a", "metrics": {"oven": 3}}
    content = json.dumps({"type": "entity.set", "world": "w1", "body": {"entities": [entity]}})

    result = CliRunner().invoke(
        events, ["lint", "-"], obj=Settings.model_construct(config=config), input=content
    )

    assert run("lint", "-", content=content).exit_code == 1
    assert result.exit_code == 0, result.output


def test_nothing_is_sent_when_one_event_is_wrong() -> None:
    result = run("send", "-", content="\n".join(map(json.dumps, (CREATE, {"type": "nope"}))))

    assert result.exit_code == 1
    assert "1 faults: nothing was sent" in str(result.exception)


def test_a_file_that_is_not_there_is_wrong_use() -> None:
    assert run("lint", "nope.json").exit_code == 2
