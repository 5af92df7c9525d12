"""Names, labels and queries that VictoriaMetrics and Prometheus share, and what their series mean.

A metric is the series `<measurement>_<field>`; its labels are `world`, `simulated`, `nodepool_id` and
`<kind>_id`, which a nodepool has only once. A name that Prometheus 2 would not take is the label `metric` of
the series `other_value`. PromQL: https://prometheus.io/docs/prometheus/latest/querying/basics/ (2.42, 3);
MetricsQL: https://docs.victoriametrics.com/metricsql/ (1.79).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from streams.domain.sink import ENTITY_STATE, OTHER
from streams.errors import SettingsError

STATE_SERIES = f"{ENTITY_STATE}_status"
"""Series of changes: a number for the status, or for a removal."""

STATUS_CODES = {"unknown": 0, "up": 1, "degraded": 2, "down": 3}
"""Value of each status there."""

REMOVED = -1
"""Value of a removal there."""

ODD_NAME = f"{OTHER}_value"
"""Series of the metrics whose names are in the label `metric`."""

MAX_CHOICE = 4_000
"""[B] Of the ids that one selector names: VictoriaMetrics takes queries of 16 KiB."""

FUNCTIONS = {
    "mean": "avg_over_time(%s)",
    "min": "min_over_time(%s)",
    "max": "max_over_time(%s)",
    "last": "last_over_time(%s)",
    "sum": "sum_over_time(%s)",
    "count": "count_over_time(%s)",
    "p50": "quantile_over_time(0.5, %s)",
    "p95": "quantile_over_time(0.95, %s)",
    "p99": "quantile_over_time(0.99, %s)",
}
"""Of a range; quantiles are linear between the neighbours in both languages."""

_PLAIN = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_UNSAFE = re.compile(r'[\\"\x00-\x1f\x7f]')
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n"}


def quote(text: str) -> str:
    """The text as a string of PromQL; the only way in which text gets into a query."""
    escaped = _UNSAFE.sub(lambda found: _ESCAPES.get(found[0]) or f"\\x{ord(found[0]):02x}", text)
    # Half of a surrogate pair is no text of UTF-8, so no label has it either.
    return '"' + escaped.encode(errors="replace").decode() + '"'


def match(label: str, texts: Iterable[str]) -> str:
    """A matcher of a label, whose name must be a word, with any of the texts."""
    texts = list(texts)
    if len(texts) == 1:
        return f"{label}={quote(texts[0])}"
    return f"{label}=~" + quote("|".join(_SPECIAL.sub(r"\\\g<0>", text) for text in texts))


def matches(label: str, texts: Iterable[str]) -> Iterator[str]:
    """Matchers of a label that each are short enough for a query; together they match any of the texts."""
    chosen: list[str] = []
    size = 0
    for text in texts:
        # Each byte may be escaped twice.
        length = 4 * len(text.encode(errors="replace")) + 1
        if chosen and size + length > MAX_CHOICE:
            yield match(label, chosen)
            chosen, size = [], 0
        chosen.append(text)
        size += length
    if chosen:
        yield match(label, chosen)


def selector(*matchers: str) -> str:
    """Series that all of the matchers match."""
    return "{" + ",".join(matchers) + "}"


class Entity(NamedTuple):
    """Whose series it is."""

    kind: str
    id: str


def entity_of(labels: Mapping[str, str]) -> Entity | None:
    """The entity by the label that ends in `_id`; None when there is none."""
    for label, value in labels.items():
        if label.endswith("_id") and label != "nodepool_id":
            return Entity(label[:-3], value)
    pool = labels.get("nodepool_id")
    return Entity("nodepool", pool) if pool else None


def labels_of(kind: str, id: str, pool: str, world: str, simulated: bool) -> dict[str, str]:
    """Labels of an entity's series; what is empty is left out."""
    # A nodepool is its own pool: the same label, once.
    labels = {
        "nodepool_id": pool,
        f"{kind}_id": id,
        "simulated": "true" if simulated else "false",
        "world": world,
    }
    return {label: value for label, value in labels.items() if value}


class SeriesNames:
    """Series of each metric, and back."""

    def __init__(self, catalogue_fields: Mapping[str, tuple[str, str]]) -> None:
        self._names = {
            metric: f"{measurement}_{field}" for metric, (measurement, field) in catalogue_fields.items()
        }
        self._metrics = {name: metric for metric, name in self._names.items()}
        for metric, name in self._names.items():
            if self._metrics[name] != metric or not _PLAIN.fullmatch(name) or name == STATE_SERIES:
                raise SettingsError(
                    [
                        f"catalogue: metric {metric} would be the series {name!r}, no name, or that of"
                        f" {self._metrics[name]} too: change `influx` of one of them"
                    ]
                )

    def series_of(self, metric: str) -> tuple[str, str]:
        """Name of a metric's series, and its label `metric`, empty when it has none."""
        name = self._names.get(metric) or f"{OTHER}_{metric}"
        if _PLAIN.fullmatch(name) and (
            (name != ODD_NAME and name not in self._metrics) or metric in self._names
        ):
            return name, ""
        return ODD_NAME, metric

    def metric_of(self, name: str, labels: Mapping[str, str]) -> str:
        """The metric of a series."""
        metric = self._metrics.get(name)
        if metric is not None:
            return metric
        if name == ODD_NAME:
            return labels.get("metric", "value")
        return name.removeprefix(f"{OTHER}_")

    def select(self, metrics: Iterable[str]) -> str:
        """A matcher of the names of some metrics' series, or of all; that of changes is none of them."""
        names = sorted({self.series_of(metric)[0] for metric in metrics})
        return match("__name__", names) if names else f"__name__!={quote(STATE_SERIES)}"


def status_of(code: float) -> str:
    """The status that a value of `STATE_SERIES` stands for; empty for a removal."""
    return next((status for status, number in STATUS_CODES.items() if number == code), "")


def code_of(status: str, removed: bool) -> int:
    """The value of `STATE_SERIES` for a status or a removal."""
    return REMOVED if removed else STATUS_CODES.get(status, 0)
