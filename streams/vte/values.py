"""Values in scenario files: durations, moments, quantities, and numbers that scatter."""

import json
import re
from datetime import datetime
from random import Random
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

MAX_MS = 31_536_000_000
"""[ms] Longest duration: a year."""

Finite = Annotated[float, Field(allow_inf_nan=False)]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)")
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_CPU = re.compile(r"\d+m")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*(Ki|Mi|Gi|Ti|k|K|M|G|T)?B?")
_MEMORY_MIB = {
    "": 2.0**-20,
    "Ki": 2.0**-10,
    "Mi": 1.0,
    "Gi": 2.0**10,
    "Ti": 2.0**20,
    "k": 1e3 / 2**20,
    "K": 1e3 / 2**20,
    "M": 1e6 / 2**20,
    "G": 1e9 / 2**20,
    "T": 1e12 / 2**20,
}


def duration_ms(value: Any) -> int:
    """[ms] What a duration says: `30s`, `1.5m`, `2h`, `500ms`, or a number of seconds."""
    factor = 1_000
    number = value
    if isinstance(value, str):
        found = _DURATION.fullmatch(value.strip())
        if found is None:
            raise ValueError("a duration is a number of seconds, or a text such as 500ms, 30s, 5m, 2h")
        number, factor = float(found[1]), _UNIT_MS[found[2]]
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number * factor <= MAX_MS:
        raise ValueError("a duration is from 0 to 365d, such as 500ms, 30s, 5m, 2h")
    return round(number * factor)


def moment_ms(value: Any) -> int:
    """[ms since the epoch, UTC] What a moment says: ISO 8601 with a time zone, or a number of ms."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("a moment is ISO 8601, such as 2025-01-01T00:00:00Z") from None
        if moment.tzinfo is None:
            raise ValueError("a moment needs a time zone, such as Z or +01:00")
        return round(moment.timestamp() * 1_000)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1 << 53:
        raise ValueError("a moment is ISO 8601, or ms since the epoch")
    return round(value)


def cores(value: Any) -> Any:
    """Processors: a number, a text of one, or `500m` as Kubernetes writes it."""
    if isinstance(value, str):
        return int(value[:-1]) / 1_000 if _CPU.fullmatch(value) else _number(value, "4 or 500m")
    return value


def memory_mib(value: Any) -> Any:
    """[MiB] Memory: a number of MiB, or a quantity of Kubernetes such as 512Mi or 2Gi."""
    if isinstance(value, str):
        found = _MEMORY.fullmatch(value.strip())
        if found is None:
            raise ValueError("memory is a number of MiB, or a quantity such as 512Mi or 2Gi")
        return float(found[1]) * _MEMORY_MIB[found[2] or ""]
    return value


def gpus(value: Any) -> Any:
    """GPUs: null and empty are none, a text that is no number is the model of one GPU."""
    if value is None:
        return 0
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isdigit() else int(text.lower() not in ("", "false", "none", "null"))
    return value


def _number(text: str, example: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"must be a number, such as {example}") from None


Duration = Annotated[
    int,
    BeforeValidator(duration_ms),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "description": "[s]"},
                {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(ms|s|m|min|h|d)\s*$"},
            ]
        }
    ),
]
"""[ms] Written as seconds, or with a unit."""

Moment = Annotated[
    int,
    BeforeValidator(moment_ms),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "number"}]}),
]
"""[ms since the epoch, UTC] Written as ISO 8601."""


class Part(BaseModel):
    """A part of a scenario: it holds what its type names, and nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Spread(Part):
    """A normal distribution; `is_fixed` where the file has a plain number, which never changes."""

    mean: Finite
    stdev: Finite = Field(0.0, ge=0)
    is_fixed: bool = Field(False, exclude=True)

    def draw(self, random: Random) -> float:
        """A value."""
        return random.gauss(self.mean, self.stdev) if self.stdev else self.mean


_NUMBER = {"type": "number"}
_SPREAD_SCHEMA = {
    "anyOf": [
        _NUMBER,
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["mean"],
            "properties": {"mean": _NUMBER, "stdev": {"type": "number", "minimum": 0}},
        },
    ]
}


def _spread(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"mean": value, "is_fixed": True}
    if isinstance(value, dict) and "is_fixed" in value:
        raise ValueError("there is no such field: is_fixed")
    if not isinstance(value, dict | Spread):
        raise ValueError("must be a number, or {mean, stdev}")
    return value


Scatter = Annotated[Spread, BeforeValidator(_spread), WithJsonSchema(_SPREAD_SCHEMA)]
"""A number, or {mean, stdev}."""


class Draw(Part):
    """What jobs that are made up have: one of the ways to draw a number."""

    value: Finite | None = None
    mean: Finite | None = None
    stdev: Finite = Field(0.0, ge=0)
    min: Finite | None = None
    max: Finite | None = None
    exponential: Finite | None = Field(None, gt=0, description="Mean of an exponential distribution")
    choices: list[Finite] = Field([], max_length=1_000)
    weights: list[Finite] = Field([], max_length=1_000)

    @model_validator(mode="after")
    def _is_one_way(self) -> Self:
        ways = [
            self.value is not None,
            self.mean is not None,
            self.exponential is not None,
            bool(self.choices),
        ]
        if self.min is not None and self.max is not None and not any(ways):
            if self.min > self.max:
                raise ValueError(f"min {self.min} is above max {self.max}")
        elif sum(ways) != 1:
            raise ValueError("one of a number, mean, min with max, exponential and choices must be given")
        if self.weights and (
            len(self.weights) != len(self.choices) or min(self.weights) < 0 or not sum(self.weights)
        ):
            raise ValueError("weights: as many as choices, none negative, not all 0")
        return self

    def draw(self, random: Random) -> float:
        """A number, never negative; with mean or exponential limited to min and max where those are given."""
        if self.value is not None:
            return max(0.0, self.value)
        if self.choices:
            return max(0.0, random.choices(self.choices, self.weights or None)[0])
        if self.mean is None and self.exponential is None:
            return max(0.0, random.uniform(self.min or 0.0, self.max or 0.0))
        drawn = (
            random.expovariate(1.0 / self.exponential)
            if self.exponential is not None
            else random.gauss(self.mean or 0.0, self.stdev)
        )
        return max(self.min or 0.0, 0.0, drawn if self.max is None else min(self.max, drawn))


def _draw(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"value": value} if is_number else value


_NUMBERS = {"type": "array", "items": _NUMBER}

Drawn = Annotated[
    Draw,
    BeforeValidator(_draw),
    WithJsonSchema(
        {
            "anyOf": [
                _NUMBER,
                {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        **dict.fromkeys(("mean", "stdev", "min", "max", "exponential"), _NUMBER),
                        **dict.fromkeys(("choices", "weights"), _NUMBERS),
                    },
                },
            ]
        }
    ),
]
"""A number, or a way to draw one."""


def dump_json(value: Any) -> str:
    """JSON as attributes carry it: sorted and without spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
