"""The example for Druid against the schema of `tick`, the names of topics and what `twin web` answers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from streams.settings import load_settings
from streams.topics import topics_of

CHECKOUT = Path(__file__).parents[2]
EXAMPLES = CHECKOUT / "docs" / "examples"

SCALARS = {"string": "string", "long": "long"}
ARRAYS = {
    "string": "ARRAY<STRING>",
    "long": "ARRAY<LONG>",
    "int": "ARRAY<LONG>",
    "boolean": "ARRAY<LONG>",
    "double": "ARRAY<DOUBLE>",
}
"""What Druid makes of Avro's types."""


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return dict(json.loads((EXAMPLES / "druid-tick.json").read_text())["spec"])


@pytest.fixture(scope="module")
def fields() -> dict[str, Any]:
    schema = json.loads((CHECKOUT / "schemas" / "avro" / "tick.avsc").read_text())
    return {field["name"]: field["type"] for field in schema["fields"]}


def added(spec: dict[str, Any]) -> set[str]:
    return {transform["name"] for transform in spec["dataSchema"]["transformSpec"]["transforms"]} - {"__time"}


def test_topic_is_that_of_the_default_settings(spec: dict[str, Any]) -> None:
    assert spec["ioConfig"]["topic"] == topics_of(load_settings())["tick"]


def test_registry_is_at_the_default_port_of_web(spec: dict[str, Any]) -> None:
    decoder = spec["ioConfig"]["inputFormat"]["avroBytesDecoder"]

    assert decoder == {"type": "schema_registry", "url": f"http://localhost:{load_settings().web_port}"}


def test_each_field_of_the_schema_is_read_by_its_name(spec: dict[str, Any], fields: dict[str, Any]) -> None:
    # Druid's own discovery of fields leaves out arrays of booleans.
    flatten = spec["ioConfig"]["inputFormat"]["flattenSpec"]

    assert flatten["useFieldDiscovery"] is False
    assert flatten["fields"] == [{"type": "root", "name": name} for name in fields]


def test_each_column_has_the_type_of_its_field(spec: dict[str, Any], fields: dict[str, Any]) -> None:
    columns = {
        column["name"]: column["castToType"] if column["type"] == "auto" else column["type"]
        for column in spec["dataSchema"]["dimensionsSpec"]["dimensions"]
    }

    expected = {
        name: SCALARS[type] if isinstance(type, str) else ARRAYS[type["items"]]
        for name, type in fields.items()
    }
    assert columns == expected | dict.fromkeys(added(spec), "ARRAY<LONG>")


def test_transforms_read_only_fields_of_the_schema(spec: dict[str, Any], fields: dict[str, Any]) -> None:
    # A transform does not see what another one made.
    for transform in spec["dataSchema"]["transformSpec"]["transforms"]:
        assert set(re.findall(r'"(\w+)"', transform["expression"])) <= set(fields)


def test_queries_name_only_columns_that_are_there(spec: dict[str, Any], fields: dict[str, Any]) -> None:
    sql = (EXAMPLES / "druid-tick.sql").read_text()

    assert set(re.findall(r't\."(\w+)"', sql)) <= set(fields) | added(spec) | {"__time"}
    assert set(re.findall(r'FROM "(\w+)"', sql)) == {spec["dataSchema"]["dataSource"]}
