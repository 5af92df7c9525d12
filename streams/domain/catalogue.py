"""The catalogue: every metric of the twin with its unit, kind, range and its names elsewhere."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

GAUGE, STATE, COUNTER = 0, 1, 2
"""Forms of a sample: interpolated between, held, or turned into a rate."""

FORMS = {"gauge": GAUGE, "state": STATE, "counter": COUNTER}
"""Form by the word that the catalogue and the rules use."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the catalogue.

    Args:
        kind: gauge, state or counter; the form of its samples unless a rule says otherwise.
        minimum: least value that is taken [unit], or None; for a counter that of its rate.
        maximum: greatest value that is taken [unit], or None; for a counter that of its rate.
        measurement: InfluxDB measurement.
        field: InfluxDB field of it.
        decice: path of the field in a DECICE v2 snapshot, or empty.
    """

    name: str
    unit: str
    kind: str
    minimum: float | None
    maximum: float | None
    measurement: str
    field: str
    decice: str
    help: str


class Catalogue(Mapping[str, Metric]):
    """All metrics by their names."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self._metrics = dict(metrics)

    def __getitem__(self, name: str) -> Metric:
        """The metric of that name."""
        return self._metrics[name]

    def __iter__(self) -> Iterator[str]:
        """Names, in the order of the catalogue."""
        return iter(self._metrics)

    def __len__(self) -> int:
        """Number of metrics."""
        return len(self._metrics)

    def ceilings(self) -> dict[str, float]:
        """Greatest value of each metric that has one [unit of the metric]; limits the rates of counters."""
        return {name: metric.maximum for name, metric in self.items() if metric.maximum is not None}

    def limits(self) -> dict[str, tuple[float, float]]:
        """Least and greatest value of each metric [unit of the metric]; infinite where there is none."""
        return {
            name: (
                float("-inf") if metric.minimum is None else metric.minimum,
                float("inf") if metric.maximum is None else metric.maximum,
            )
            for name, metric in self.items()
        }

    def fields(self) -> dict[str, tuple[str, str]]:
        """Measurement and field of each metric in the history store."""
        return {name: (metric.measurement, metric.field) for name, metric in self.items()}

    def units(self) -> dict[str, str]:
        """Unit of each metric."""
        return {name: metric.unit for name, metric in self.items()}

    def forms(self) -> dict[str, int]:
        """Form of the samples of each metric."""
        return {name: FORMS[metric.kind] for name, metric in self.items()}
