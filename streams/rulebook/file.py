"""YAML that remembers its lines, and collects every fault of a file instead of stopping at the first."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from re import compile as pattern
from typing import Any, TypeVar

import yaml

from streams.errors import InvalidRuleError

try:
    from yaml import CSafeLoader as SafeLoader  # three times as fast, where PyYAML was built with libyaml
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]  # the same, in Python

T = TypeVar("T")


class LinedDict(dict[str, Any]):
    """A mapping with the line of itself and of each of its keys."""

    line: int
    lines: dict[str, int]


class LinedList(list[Any]):
    """A list with the line of itself and of each of its items."""

    line: int
    lines: list[int]


class _Loader(SafeLoader):
    """safe_load with lines, and with the scalars of YAML 1.2: `on`, `no` and dates are texts."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, Any]]] = {}  # noqa: RUF012  # how PyYAML keeps them


for _tag, _expression, _first in (
    ("bool", r"true|false", "tf"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+0123456789."),
    ("null", r"~|null|", ["~", "n", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", pattern(f"^(?:{_expression})$"), list(_first))


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Iterator[LinedDict]:
    found = LinedDict()
    found.line, found.lines = node.start_mark.line + 1, {}
    yield found
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, Hashable) or isinstance(key, tuple):
            raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
        key = key if isinstance(key, str) else str(key_node.value)
        if key in found.lines:
            raise yaml.constructor.ConstructorError(
                None, None, f"{key!r} is there twice", key_node.start_mark
            )
        found[key] = loader.construct_object(value_node, deep=True)
        found.lines[key] = line


def _sequence(loader: _Loader, node: yaml.SequenceNode) -> Iterator[LinedList]:
    found = LinedList()
    found.line, found.lines = node.start_mark.line + 1, [item.start_mark.line + 1 for item in node.value]
    yield found
    found.extend(loader.construct_object(item, deep=True) for item in node.value)


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
_Loader.add_constructor("tag:yaml.org,2002:seq", _sequence)


@dataclass
class Block:
    """A mapping of a rule file, read key by key; what is wrong with it is added to `faults`."""

    file: str
    content: LinedDict
    faults: list[str]
    known: set[str] = field(default_factory=set)

    def line(self, key: str = "") -> int:
        """Line of a key, or of the block."""
        return self.content.lines.get(key, self.content.line)

    def place(self, key: str = "") -> str:
        """file:line of a key, or of the block."""
        return f"{self.file}:{self.line(key)}"

    def fault(self, text: str, key: str = "") -> None:
        """Note a fault."""
        self.faults.append(f"{self.place(key)}: {text}")

    def has(self, key: str) -> bool:
        """Whether the block has that key."""
        self.known.add(key)
        return key in self.content

    @contextmanager
    def at(self, key: str) -> Iterator[None]:
        """Note what is raised inside as a fault of that key."""
        try:
            yield
        except InvalidRuleError as error:
            self.fault(f"{key}: {error}", key)

    def _take(self, key: str, kind: type[T] | tuple[type[T], ...], what: str, *, needed: bool) -> T | None:
        self.known.add(key)
        value = self.content.get(key)
        if value is None:
            if needed:
                self.fault(f"{key!r} is missing")
            return None
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.fault(f"{key!r} must be {what}, not {value!r}", key)
            return None
        return value

    def text(self, key: str, default: str = "", *, needed: bool = False) -> str:
        """A text."""
        value = self._take(key, str, "a text", needed=needed)
        return default if value is None else value

    def number(self, key: str, default: float | None = None) -> float | None:
        """A number."""
        value = self._take(key, (int, float), "a number", needed=False)
        if value is not None and not isfinite(value):
            self.fault(f"{key!r} must be finite", key)
            return default
        return default if value is None else float(value)

    def flag(self, key: str) -> bool:
        """true or false; false when it is absent."""
        return bool(self._take(key, bool, "true or false", needed=False))

    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        """One of some words."""
        value = self.text(key, default)
        if value not in choices:
            self.fault(f"{key!r} must be one of {', '.join(filter(None, choices))}, not {value!r}", key)
            return default
        return value

    def texts(self, key: str, *, needed: bool = False) -> list[str]:
        """A list of texts; one text is a list of one."""
        self.known.add(key)
        if isinstance(self.content.get(key), str):
            return [self.content[key]]
        value = self._take(key, LinedList, "a text, or a list of texts", needed=needed)
        for item in value or ():
            if not isinstance(item, str):
                self.fault(f"{key!r} must be texts, not {item!r}", key)
        return [item for item in value or () if isinstance(item, str)]

    def items(self, key: str) -> LinedList:
        """A list of anything."""
        value = self._take(key, LinedList, "a list", needed=False)
        if value is None:
            value = LinedList()
        return value

    def block(self, key: str, *, needed: bool = False) -> "Block | None":
        """A mapping."""
        value = self._take(key, LinedDict, "a mapping", needed=needed)
        return None if value is None else Block(self.file, value, self.faults)

    def blocks(self, key: str) -> list["Block"]:
        """A list of mappings."""
        value = self.items(key)
        found = []
        for place, item in enumerate(value):
            if isinstance(item, LinedDict):
                found.append(Block(self.file, item, self.faults))
            else:
                self.faults.append(
                    f"{self.file}:{value.lines[place]}: {key!r} must be mappings, not {item!r}"
                )
        return found

    def parsed(self, key: str, parse: Callable[[str], T], *, needed: bool = False) -> T | None:
        """What a parser makes of a text; None when it is absent or wrong."""
        text = self.text(key, needed=needed)
        if self.content.get(key) == "":
            self.fault(f"{key!r} is empty", key)
        if text:
            with self.at(key):
                return parse(text)
        return None

    def finish(self) -> None:
        """Note keys that nobody asked for: mostly typing errors."""
        for key in self.content:
            if key not in self.known:
                near = get_close_matches(key, self.known, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(self.known))}"
                self.fault(f"unknown key {key!r}; {hint}", key)


def parse_yaml(text: str) -> Any:
    """What a text says, with lines; yaml.YAMLError or RecursionError when it is no YAML."""
    return yaml.load(text, _Loader)  # noqa: S506  # a SafeLoader


def read_yaml(path: Path, shown: str, faults: list[str]) -> Block | None:
    """The mapping that a file holds; None, with a fault, when it holds none.

    Args:
        shown: name of the file in faults.
    """
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        faults.append(f"{shown}:1: cannot be read: {error.strerror}")
        return None
    except UnicodeDecodeError as error:
        faults.append(f"{shown}:1: not UTF-8: {error}")
        return None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        faults.append(f"{shown}:{mark.line + 1 if mark else 1}: not YAML: {problem}")
        return None
    if not isinstance(content, LinedDict):
        faults.append(f"{shown}:1: must be a mapping with `pack:` or `metrics:`")
        return None
    return Block(shown, content, faults)
