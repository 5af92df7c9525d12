"""Options that are moments, lengths of time or speeds: `--from -30m`, `--every 5m`, `--speed 10x`."""

import re
import time
from contextlib import suppress
from typing import Any

import click

from streams.domain.times import parse_duration, parse_moment
from streams.vte.values import duration_ms


class MomentType(click.ParamType):
    """Milliseconds since the epoch: from ISO 8601 with a zone, -30m for a while ago, now, or digits.

    By the clock of this machine; where the time of a world counts, see `streams.tools.past.read_moment`.
    """

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The moment in ms."""
        if isinstance(value, int):
            return value
        try:
            return parse_moment(value, int(time.time() * 1000))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class DurationType(click.ParamType):
    """Milliseconds: from 500ms, 30s, 5m, 1h30m or 7d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The length in ms."""
        if isinstance(value, int):
            return value
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class ScenarioDurationType(DurationType):
    """The same, and what scenario files have: 5 is 5 s, and 0 is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The length in ms."""
        with suppress(ValueError, TypeError):
            return duration_ms(float(value) if re.fullmatch(r"[0-9.]+", value) else value)
        return super().convert(value, param, ctx)


class SpeedType(click.ParamType):
    """How many times faster than it was, or than the world's time: 10x, 0.5x, or max (0)."""

    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The factor; 0 without a pause."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)x?", value)
        speed = 0.0 if value == "max" else float(found[1]) if found else -1.0
        if speed < 0 or (speed == 0 and value != "max"):
            self.fail(f"{value!r}: write 10x, 0.5x, or max", param, ctx)
        return speed
