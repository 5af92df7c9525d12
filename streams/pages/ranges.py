"""The range of time that charts show, as people choose it and as the URL keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass

from streams.domain.times import parse_moment

RANGES = {
    "15m": (900_000, "15 min"),
    "1h": (3_600_000, "1 h"),
    "6h": (21_600_000, "6 h"),
    "24h": (86_400_000, "24 h"),
    "7d": (604_800_000, "7 d"),
}
"""[ms] Length and label of the ranges that end now."""

CUSTOM = "custom"

DEFAULT = "15m"

NOW = "now"

AFTER = 0.25
"""[1] Share of a range that is shown after a moment of the past: what followed is often the question."""


class InvalidRangeError(ValueError):
    """`field` is `start` or `end`."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True)
class Bounds:
    """A range; `ends_now`: it moves on with the time."""

    start_ms: int
    end_ms: int
    ends_now: bool


@dataclass(frozen=True)
class Range:
    """A choice: one of RANGES, or two moments (`parse_moment`)."""

    name: str = DEFAULT
    start: str = ""
    end: str = ""

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> "Range":
        """What the URL says; the default where it says nothing that can be meant."""
        name = params.get("range", DEFAULT)
        if name == CUSTOM:
            return cls(CUSTOM, params.get("start", "-1h"), params.get("end", NOW))
        return cls(name if name in RANGES else DEFAULT)

    def to_params(self) -> dict[str, str | None]:
        """What the URL is to say."""
        is_custom = self.name == CUSTOM
        return {
            "range": None if self.name == DEFAULT else self.name,
            "start": self.start if is_custom else None,
            "end": self.end if is_custom else None,
        }

    def bounds(self, now_ms: int, at_ms: int | None = None) -> Bounds:
        """The moments that are meant.

        Args:
            now_ms: [ms since the epoch] by the time of the world.
            at_ms: [ms since the epoch] the moment that is looked at; None: now.

        Raises:
            InvalidRangeError: one is none, or they do not follow each other.
        """
        if self.name != CUSTOM:
            span_ms = RANGES[self.name][0]
            end_ms = now_ms if at_ms is None else min(now_ms, at_ms + round(AFTER * span_ms))
            return Bounds(end_ms - span_ms, end_ms, at_ms is None)
        start_ms, end_ms = (_moment(name, getattr(self, name), now_ms) for name in ("start", "end"))
        if start_ms >= now_ms:
            raise InvalidRangeError("start", "is to come: there is no history of it yet")
        if end_ms <= start_ms:
            raise InvalidRangeError("end", "must be later than the beginning")
        return Bounds(start_ms, end_ms, at_ms is None and self.end.strip() == NOW)


def _moment(field: str, text: str, now_ms: int) -> int:
    try:
        return parse_moment(text, now_ms)
    except ValueError as error:
        raise InvalidRangeError(field, str(error)) from None
