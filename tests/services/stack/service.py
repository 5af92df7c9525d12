"""What the commands must know of one service; each service's module builds one of these."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .remembered import Remembered


def _nothing(_remembered: Remembered) -> None:
    """Do nothing: the service needs no such step."""


@dataclass(frozen=True)
class Service:
    """One server: how to get it, start it, and see that it works."""

    name: str
    port_names: tuple[str, ...]
    tools: Callable[[], set[str]]
    """The programs needed to build (unless that is done) and to run it."""
    command: Callable[[Remembered], list[str]]
    is_healthy: Callable[[Remembered], bool]
    facts: Callable[[Remembered], dict[str, Any]]
    """What tests may need to know, for `services.json`."""
    build: Callable[[], object] = lambda: None
    """Fills the cache, or does nothing where it is filled."""
    prepare: Callable[[Remembered], None] = _nothing
    """Writes configuration and, at first start, data; runs before each start."""
    set_up: Callable[[Remembered], None] = _nothing
    """Makes what is missing inside a healthy server; runs after each start."""
    environment: dict[str, str] = field(default_factory=dict)
