"""The YAML file of TWIN_CONFIG as sections; each is checked where it is used."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from streams.errors import SettingsError

SECTIONS = ("sources", "rule_packs", "access")
"""All sections that anybody reads; a name that is near to one is taken for a mistake."""


def read_sections(path: Path | None) -> dict[str, Any]:
    """The sections in a file, by name; no file: none.

    Raises:
        SettingsError: the file cannot be read, or is no YAML mapping.
    """
    if path is None:
        return {}
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeError) as error:
        raise SettingsError(
            [f"TWIN_CONFIG: {path} cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}"]
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise SettingsError(
            [f"{place}: not YAML: {getattr(error, 'problem', None) or 'cannot be parsed'}"]
        ) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError([f"{path}: must be sections such as `sources:`, not a {type(content).__name__}"])
    return content


def misspelt(path: Path | None, content: dict[Any, Any]) -> Iterable[str]:
    """A fault for each section whose name is nearly one that there is."""
    for name in content:
        near = get_close_matches(str(name), SECTIONS, n=1, cutoff=0.75)
        if near and name not in SECTIONS:
            yield f"{path}: unknown section {name!r}: is {near[0]!r} meant?"


def place_of(location: Iterable[int | str]) -> str:
    """Where in a file something stands: sources[0].url."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(
        "."
    )
