"""Options of `twin vte` that are more than texts and numbers."""

import re
from typing import Any

import click

from streams.vte.values import duration_ms


class DurationType(click.ParamType):
    """Milliseconds from a text such as 500ms, 5s, 2m, 1h, or from seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The duration in ms."""
        if isinstance(value, int):
            return value
        try:
            return duration_ms(float(value) if re.fullmatch(r"[0-9.]+", value) else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class SpeedType(click.ParamType):
    """How many times faster than the world's time: 10x, 0.5x, or max (0)."""

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
