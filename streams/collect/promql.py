"""Reads answers of the Prometheus HTTP API, and finds the true sample times in them.

Format: https://prometheus.io/docs/prometheus/latest/querying/api/ (2.42 and 3).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streams.errors import SourceError

TIMES_LABEL = "twin_sample_time"
"""Label that tells the sample times in an answer from the values."""

Up = tuple[dict[str, str], int]
"""Labels of a target and the time of its newest sample [ms]."""


@dataclass
class Reply:
    """What one query gave: its series with evaluation times, and the sample times of targets."""

    labels: list[dict[str, str]] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    evaluated_ms: list[int] = field(default_factory=list)
    ups: list[Up] = field(default_factory=list)
    histograms: int = 0


def with_sample_times(promql: str, *, narrow: bool) -> str:
    """The query, and in the same answer the sample times of all targets, or with `narrow` of those it needs.

    All samples of one scrape of a target share a time, and `up` has it too. An instant query stamps the
    evaluation time instead. Asked for in a query of its own, a time could be that of the next scrape; one
    query sees one snapshot of the database.
    """
    times = f"timestamp(up) and on (instance) (\n{promql}\n)" if narrow else "timestamp(up)"
    return f'label_replace({times}, "{TIMES_LABEL}", "1", "instance", ".*") or (\n{promql}\n)'


def read_answer(body: bytes) -> tuple[Any, list[str]]:
    """The data of an answer and its warnings.

    Raises:
        SourceError: it is not of this API, or an error, which can come with status 200.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    status = answer.get("status") if isinstance(answer, dict) else None
    if status == "error":
        raise SourceError(
            "error_body", f"{answer.get('errorType', 'error')}: {str(answer.get('error', ''))[:300]}"
        )
    if status != "success" or "data" not in answer:
        excerpt = body[:400].decode(errors="replace")[:100]
        raise SourceError("error_body", f"not an answer of the Prometheus HTTP API: {excerpt!r}")
    warnings = answer.get("warnings")
    return answer["data"], [str(warning) for warning in warnings] if isinstance(warnings, list) else []


def read_vector(data: Any) -> Reply:
    """An instant vector; SourceError when it is another type or not well-formed."""
    reply = Reply()
    try:
        if data["resultType"] != "vector":
            raise SourceError("result_type", f"the result is a {data['resultType']}, not an instant vector")
        for item in data["result"]:
            labels = item["metric"]
            "".join(labels.values())  # a TypeError when one is no text; the quickest way to ask
            if "value" not in item:
                reply.histograms += 1  # native ones; no rule reads them
                continue
            evaluated_s, text = item["value"]
            if labels.pop(TIMES_LABEL, None) is not None:
                reply.ups.append((labels, _to_ms(text)))
                continue
            reply.values.append(float(text))
            reply.evaluated_ms.append(_to_ms(evaluated_s))
            reply.labels.append(labels)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise SourceError(
            "error_body", f"the data is not an instant vector: {type(error).__name__}"
        ) from None
    return reply


def read_matrix_times(data: Any) -> list[tuple[dict[str, str], list[int]]]:
    """Labels and sample times [ms] of each series of a range vector; SourceError when it is none."""
    try:
        return [
            (
                {name: value for name, value in item["metric"].items() if name != "__name__"},
                [_to_ms(time_s) for time_s, _ in item["values"]],
            )
            for item in data["result"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise SourceError("error_body", f"the data is not a range vector: {type(error).__name__}") from None


class SampleTimes:
    """Finds the target that a series comes from, and with it the time of its sample."""

    def __init__(self, ups: list[Up]) -> None:
        self._by_job: dict[tuple[str, str], list[Up]] = {}
        self._by_instance: dict[str, list[Up]] = {}
        for up in ups:
            instance, job = up[0].get("instance", ""), up[0].get("job", "")
            self._by_job.setdefault((instance, job), []).append(up)
            self._by_instance.setdefault(instance, []).append(up)

    def find(self, labels: Mapping[str, str]) -> Up | None:
        """The target by instance and job, or by instance alone if it has one job; None when in doubt."""
        instance = labels.get("instance")
        if instance is None:
            return None
        job = labels.get("job")
        found = self._by_instance.get(instance) if job is None else self._by_job.get((instance, job))
        if not found:
            return None
        if len(found) > 1:  # the same address in several clusters: the target's labels are the series' too
            found = [up for up in found if all(labels.get(name) == value for name, value in up[0].items())]
        return found[0] if len(found) == 1 else None


def _to_ms(seconds: Any) -> int:
    return round(float(seconds) * 1000)
