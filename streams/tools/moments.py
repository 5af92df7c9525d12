"""Options that are moments: `--from -30m`, `--at 2026-11-24T03:12:00Z`."""

import time
from typing import Any

import click

from streams.domain.times import parse_moment


class MomentType(click.ParamType):
    """Milliseconds since the epoch: from ISO 8601 with a zone, -30m for a while ago, now, or digits."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The moment in ms."""
        if isinstance(value, int):
            return value
        try:
            return parse_moment(value, int(time.time() * 1000))
        except ValueError as error:
            self.fail(str(error), param, ctx)
