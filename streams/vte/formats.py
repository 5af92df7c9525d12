"""Reads scenario files: tells the formats apart by their JSON Schema, and says where each failed."""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from pydantic import ValidationError

from streams.domain.near import near_names
from streams.errors import TwinError
from streams.rulebook import RULES_FOLDER, load_rulebook
from streams.rulebook.file import LinedDict, LinedList, parse_yaml
from streams.vte.convert import CONVERTERS
from streams.vte.scenario import Scenario
from streams.vte.values import Part

FORMATS = {
    "scenario": "our own",
    "emulator": "the emulator's YAML",
    "decice-vte": "DECICE training scenario (tasks, cluster)",
    "appendix-a": "D2.2, Appendix A",
    "decice-v2": "snapshot of the DECICE twin",
    "mock-exporter": "the mock exporter's simulation",
}
"""Formats that are read."""

YAML_ORDER = ("emulator", "scenario", "decice-vte", "appendix-a", "decice-v2", "mock-exporter")
JSON_ORDER = ("decice-vte", "appendix-a", "decice-v2", "mock-exporter", "emulator", "scenario")
"""Which format a file is when it could be several: by hand one writes YAML, programs write JSON."""

SCHEMAS = {"emulator": "emulator", "decice-vte": "decice_vte", "mock-exporter": "mock_exporter"}
"""File of the JSON Schema of each format; those that the twin itself takes stand with the rules."""

MAX_BYTES = 256 * 1024 * 1024
"""[B] Of a scenario file: a snapshot of 20,000 nodes has some 10 MB."""

MAX_LINED = 200_000
"""[1] Characters of a JSON file of which lines are told: it is parsed as YAML for that, which is slow."""

FAULTS_COMPARED = 50
"""[1] Faults of one schema among which the most telling is looked for."""

FAULTS_SHOWN = 10
"""[1] Faults of a scenario that its error lists."""


class InvalidScenarioError(TwinError):
    """A scenario file that is none, with the places where it is wrong."""


class Read(NamedTuple):
    """A scenario with the format of its file, and the other formats that it could have been."""

    scenario: Scenario
    format: str
    others: tuple[str, ...] = ()


class _Source(NamedTuple):
    """A file with its content; `shown` names it in errors."""

    shown: str
    text: str
    content: Any
    is_json: bool

    def place(self, path: Sequence[Any]) -> str:
        """file:line of a path in the content; without a line where that cannot be told."""
        if self.is_json and len(self.text) > MAX_LINED:
            return self.shown
        try:
            content = parse_yaml(self.text) if self.is_json else self.content
        except (yaml.YAMLError, RecursionError):
            return self.shown
        line = 1
        for key in path:
            listed = isinstance(content, LinedList) and isinstance(key, int) and key < len(content)
            if not listed and not (isinstance(content, LinedDict) and key in content):
                break
            line = content.lines[key]
            content = content[key]
        return f"{self.shown}:{line}"


def read_scenario(source: Path | str | dict[str, Any], format: str = "") -> Scenario:
    """The scenario in a file (a Path), in a text, or in a document that was parsed; see `read`."""
    return read(source, format).scenario


def read(source: Path | str | dict[str, Any], format: str = "") -> Read:
    """The scenario in a file, a text or a document, with its format.

    Args:
        format: of FORMATS; empty: what its JSON Schemas say.

    Raises:
        InvalidScenarioError: it cannot be read, or fits no format; says where each failed.
    """
    if format and format not in FORMATS:
        raise InvalidScenarioError(f"unknown format {format!r}; known: {', '.join(FORMATS)}")
    parsed = _parse(source)
    if not isinstance(parsed.content, dict):
        raise InvalidScenarioError(f"{parsed.shown}: must be a mapping with `vertexpools` or the like")
    if not format:
        format, others = _recognise(parsed)
    else:
        others = ()
        if format != "scenario" and (fault := _schema_fault(parsed, format)):
            raise InvalidScenarioError(fault)
    if format == "scenario":
        return Read(_own(parsed), format, others)
    try:
        scenario = Scenario.model_validate(CONVERTERS[format](parsed.content))
    except ValidationError as error:
        faults = "; ".join(f"{place}: {text}" for place, text in _told(error, parsed.content))
        raise InvalidScenarioError(
            f"{parsed.shown}: a scenario of format {format} that cannot be: {faults}"
        ) from None
    return Read(scenario, format, others)


def _recognise(parsed: _Source) -> tuple[str, tuple[str, ...]]:
    faults: dict[str, str] = {}
    fits = []
    for name in JSON_ORDER if parsed.is_json else YAML_ORDER:
        fault = _own_fault(parsed) if name == "scenario" else _schema_fault(parsed, name)
        if fault:
            faults[name] = fault
        else:
            fits.append(name)
    if not fits:
        lines = [f"  {name} ({FORMATS[name]}): {faults[name]}" for name in FORMATS]
        raise InvalidScenarioError("\n".join((f"{parsed.shown}: fits no format:", *lines)))
    # The emulator's files mean the same when they are read as ours.
    others = [name for name in fits[1:] if {name, fits[0]} != {"emulator", "scenario"}]
    return fits[0], tuple(others)


def _schema_fault(parsed: _Source, name: str) -> str:
    error = best_match(islice(_validator(name).iter_errors(parsed.content), FAULTS_COMPARED))
    if error is None:
        return ""
    path = list(error.absolute_path)
    where = ".".join(map(str, path))
    return f"{parsed.place(path)}: {where + ': ' if where else ''}{error.message[:300]}"


@cache
def _validator(name: str) -> Draft202012Validator:
    if name == "decice-v2":
        document = load_rulebook().packs["decice_v2"].document
        return Draft202012Validator({} if document is None else document.schema)
    if name == "appendix-a":
        schema = json.loads((RULES_FOLDER / "appendix_a.schema.json").read_text("utf-8"))
        # A scenario without pools is none, whatever the document may leave out.
        return Draft202012Validator(schema | {"required": ["nodepools"]})
    text = files("streams.vte").joinpath(f"schemas/{SCHEMAS[name]}.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def _own(parsed: _Source) -> Scenario:
    if fault := _own_fault(parsed, FAULTS_SHOWN):
        raise InvalidScenarioError(fault)
    scenario = Scenario.model_validate(parsed.content)
    strays = [f"{parsed.place(path)}: {text}" for path, text in islice(_strays(scenario), FAULTS_SHOWN)]
    if strays:
        raise InvalidScenarioError("\n".join(strays))
    return scenario


def _own_fault(parsed: _Source, count: int = 1) -> str:
    try:
        Scenario.model_validate(parsed.content)
    except ValidationError as error:
        faults = [
            f"{parsed.place(path)}: {place}: {text}" for path, (place, text) in _placed(error, parsed.content)
        ]
        return "\n".join(faults[:count])
    return ""


def _strays(scenario: Scenario) -> Iterator[tuple[list[Any], str]]:
    """Links to pools that are not there; other formats may have them."""
    pools = [pool.id for pool in scenario.vertexpools]
    for place, link in enumerate(scenario.links):
        for field in ("vertexpool_a_id", "vertexpool_b_id"):
            id = getattr(link, field)
            if id not in pools:
                near = near_names(id, pools)
                hint = f"; did you mean {', '.join(near)}?" if near else ""
                yield ["links", place, field], f"links.{place}.{field}: there is no vertexpool {id!r}{hint}"


def _placed(error: ValidationError, content: Any) -> Iterator[tuple[list[Any], tuple[str, str]]]:
    for fault in error.errors():
        path = _path(fault["loc"], content)
        text = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            near = near_names(str(path[-1]), _names_at(path[:-1]))
            text = "there is no such field" + (f"; did you mean {near[0]}?" if near else "")
        elif fault["type"] == "missing":
            text = "is missing"
        elif not isinstance(fault["input"], dict | list):
            text = f"{str(fault['input'])[:100]!r}: {text}"
        yield path, (".".join(map(str, path)) or "scenario", text)


def _told(error: ValidationError, content: Any) -> list[tuple[str, str]]:
    return [told for _, told in islice(_placed(error, {}), FAULTS_SHOWN)]


def _path(loc: tuple[Any, ...], content: Any) -> list[Any]:
    """The place in the file; pydantic adds names of branches, which the file does not have."""
    path: list[Any] = []
    for number, key in enumerate(loc):
        there = isinstance(content, dict) and key in content
        listed = isinstance(content, list) and isinstance(key, int) and key < len(content)
        if there or listed:
            content = content[key]
            path.append(key)
        elif number == len(loc) - 1 or not content:
            path.append(key)
    return path


def _names_at(path: Sequence[Any]) -> list[str]:
    """Names that the mapping at a path may have."""
    model: Any = Scenario
    for key in path:
        if isinstance(key, int):
            continue
        field = getattr(model, "model_fields", {}).get(key)
        if field is None:
            return []
        model = next(_models(field.annotation), None)
    return list(getattr(model, "model_fields", {}))


def _models(annotation: Any) -> Iterator[type[Part]]:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _models(part)


def _parse(source: Path | str | dict[str, Any]) -> _Source:
    if isinstance(source, dict):
        return _Source("scenario", "", source, False)
    if isinstance(source, Path):
        text, shown, suffix = _load(source), str(source), source.suffix.lower()
    else:
        text, shown, suffix = source, "scenario", ""
    is_json = suffix == ".json" or (not suffix and text.lstrip()[:1] == "{")
    try:
        content = json.loads(text, object_pairs_hook=_each_once) if is_json else parse_yaml(text)
    except json.JSONDecodeError as error:
        raise InvalidScenarioError(
            f"{shown}:{error.lineno}: not JSON: {error.msg} at column {error.colno}"
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)[:200]
        raise InvalidScenarioError(f"{shown}:{mark.line + 1 if mark else 1}: not YAML: {problem}") from None
    except (ValueError, RecursionError) as error:
        text = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise InvalidScenarioError(f"{shown}:1: {text}") from None
    return _Source(shown, text, content, is_json)


def _load(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InvalidScenarioError(f"{path}: {size} bytes are more than {MAX_BYTES}")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidScenarioError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InvalidScenarioError(f"{path}:1: not UTF-8: {error}") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return found
