"""How nodes and links scatter: the emulator's statistics, each with a random stream of its own."""

from collections.abc import Iterator
from random import Random

from streams.domain.catalogue import Catalogue
from streams.domain.near import near_names
from streams.vte.formats import InvalidScenarioError
from streams.vte.scenario import Link, Node
from streams.vte.values import Spread

IDLE_W, CORE_W = 20.0, 15.0
"""[W] The emulator's power model: a node at rest, and what a busy core adds."""

MEM_PER_CPU = 0.7
"""[1] The emulator's memory usage by processor usage."""

LEAST_DELAY_MS = 0.5
"""[ms] The emulator's least delay, of links that scatter."""

GIB, GB, MBIT = 2.0**30, 1e9, 125e3
"""[B], [B], [B/s] Units of scenario files: what they call GB of memory is GiB, as schedulers take it."""

LOAD = ("cpu_usage_percent", "mem_usage_percent", "mem_available_bytes", "power_watts")
"""Metrics that follow from the load, in this order, as far as the node has what they need."""

SHARED = ("cpu_allocated", "mem_allocated_bytes", "gpu_allocated")
"""Metrics that change with jobs alone."""

METRICS = (
    ("cpu_cores", "number_of_cores", 1.0),
    ("mem_total", "mem_total_bytes", GIB),
    ("total_disk_gb", "disk_total_bytes", GB),
    ("free_disk_gb", "disk_free_bytes", GB),
    ("network_bandwidth_mbps", "network_receive_bytes_per_s", MBIT),
)
"""Fields of a scenario, names in the catalogue, and factors."""

LOAD_FIELDS = (("util", 100.0), ("mem_util", 100.0), ("power_watts", 1e6))
"""Fields that the load is drawn from, with their greatest means."""


class NodeModel:
    """A node: what it has, what its jobs take, and how its values scatter.

    `names` are the metrics of `values`; where jobs came or went `shared_names`.
    """

    def __init__(self, node: Node, pool: str, seed: int, catalogue: Catalogue) -> None:
        self.id, self.pool = node.key, pool
        self._random = Random(f"{seed}/node/{self.id}")
        spreads = dict(_spreads(node))
        _check(node, spreads, catalogue)
        metrics = node.metrics
        self._util, self._mem, self._factor = metrics.util, metrics.mem_util, metrics.power_factor
        self._power = metrics.power_watts if isinstance(metrics.power_watts, Spread) else None
        scatters = self._mem is None and self._util is not None and not self._util.is_fixed
        self._mem_spread = metrics.mem_util_spread if scatters else 0.0
        self.cores = _mean(spreads.get("number_of_cores"))
        self.mem_bytes = _mean(spreads.get("mem_total_bytes"))
        self.gpus = float(node.gpu_count)
        self._drawn = [
            (spread.mean, spread.stdev, *_limits(name, catalogue))
            for name, spread in spreads.items()
            if spread.stdev
        ]
        self.fixed = {name: spread.mean for name, spread in spreads.items() if not spread.stdev}
        if self.gpus:
            self.fixed.setdefault("gpu_count", self.gpus)
        has_cpu = self._util is not None
        has_mem = has_cpu or self._mem is not None
        has_power = self._power is not None or (has_cpu and self.cores > 0)
        has_load = (has_cpu, has_mem, has_mem and self.mem_bytes > 0, has_power)
        self._load_kept = [place for place in range(4) if has_load[place] and LOAD[place] not in spreads]
        has_shared = (self.cores > 0, self.mem_bytes > 0, self.gpus > 0)
        self._shared_kept = [
            place for place in range(3) if has_shared[place] and SHARED[place] not in spreads
        ]
        scattered = [name for name, spread in spreads.items() if spread.stdev]
        self.names = (*(LOAD[place] for place in self._load_kept), *scattered)
        self.shared_names = (*self.names, *(SHARED[place] for place in self._shared_kept))
        load = (self._util, self._mem, self._power)
        self.varies = bool(self._drawn or self._mem_spread) or any(spread and spread.stdev for spread in load)
        self.used = [0.0, 0.0, 0.0]
        self.running: set[str] = set()
        self.is_touched = False
        self.is_removed = False

    def free(self, share: float = 1.0) -> list[float]:
        """Processors, memory [B] and GPUs beside the jobs that run, where a share of the node is left."""
        cpu, mem_bytes, gpu = self.used
        return [self.cores * share - cpu, self.mem_bytes * share - mem_bytes, self.gpus * share - gpu]

    def take(self, id: str, needs: tuple[float, float, float]) -> None:
        """A job begins."""
        self.running.add(id)
        self.used = [used + need for used, need in zip(self.used, needs, strict=True)]
        self.is_touched = True

    def give_back(self, id: str, needs: tuple[float, float, float]) -> None:
        """A job ends."""
        self.running.discard(id)
        # Of an idle node no rounding remains.
        self.used = [
            used - need if self.running else 0.0 for used, need in zip(self.used, needs, strict=True)
        ]
        self.is_touched = True

    def means(self) -> dict[str, float]:
        """All values at their means, with the jobs that run."""
        util = _mean(self._util)
        mem = MEM_PER_CPU * util if self._mem is None else self._mem.mean
        values = self._loaded(util, mem, None if self._power is None else self._power.mean)
        values += [min(high, max(low, mean)) for mean, _, low, high in self._drawn]
        return {**self.fixed, **dict(zip(self.shared_names, values + self.shared(), strict=True))}

    def values(self, common: float, own: float) -> list[float]:
        """Values of `names` at the next step.

        Args:
            common: the part of the noise that others have too [1].
            own: weight of the noise that is the node's own [1].
        """
        gauss = self._random.gauss
        util = 0.0
        if self._util is not None:
            util = self._util.mean
            if self._util.stdev:
                util += self._util.stdev * (common + own * gauss(0.0, 1.0))
                util = min(100.0, max(0.0, util))
        if self._mem is None:
            mem = MEM_PER_CPU * util
            if self._mem_spread:
                mem += self._random.uniform(-self._mem_spread, self._mem_spread)
        else:
            mem = self._mem.draw(self._random)
        power = None if self._power is None else self._power.draw(self._random)
        values = self._loaded(util, mem, power)
        for mean, stdev, low, high in self._drawn:
            drawn = gauss(mean, stdev)
            values.append(low if drawn < low else min(drawn, high))
        return values

    def shared(self) -> list[float]:
        """Values of what `shared_names` has beyond `names`."""
        return [self.used[place] for place in self._shared_kept]

    def _loaded(self, util: float, mem: float, power: float | None) -> list[float]:
        """Values that follow from the load, with that of the jobs."""
        jobs = 100.0 * self.used[0] / self.cores if self.cores else 0.0
        cpu = min(100.0, util + jobs)
        mem_jobs = 100.0 * self.used[1] / self.mem_bytes if self.mem_bytes else 0.0
        mem = min(100.0, max(0.0, mem) + mem_jobs)
        busy_w = self.cores * CORE_W * self._factor / 100.0
        watts = IDLE_W + cpu * busy_w if power is None else max(0.0, power) + jobs * busy_w
        values = (cpu, mem, self.mem_bytes * (1.0 - mem / 100.0), watts)
        return [values[place] for place in self._load_kept]


class LinkModel:
    """A link whose delay scatters, or stays."""

    def __init__(self, link: Link, seed: int) -> None:
        self.id = link.key
        self._random = Random(f"{seed}/link/{self.id}")
        self._delay = link.network_delay_ms
        if self._delay is not None and self._delay.mean < 0:
            raise InvalidScenarioError(f"link {self.id}: network_delay_ms: {self._delay.mean} is negative")
        self.varies = self._delay is not None and self._delay.stdev > 0

    def mean(self) -> dict[str, float]:
        """The delay at its mean, if the link has one."""
        if self._delay is None:
            return {}
        delay = self._delay.mean
        return {"network_delay_ms": delay if self._delay.is_fixed else max(LEAST_DELAY_MS, delay)}

    def value(self) -> list[float]:
        """The delay at the next step."""
        return [max(LEAST_DELAY_MS, self._delay.draw(self._random)) if self._delay is not None else 0.0]


def _spreads(node: Node) -> Iterator[tuple[str, Spread]]:
    """Distributions by names of the catalogue; its part of the node comes first."""
    for field, name, factor in METRICS:
        spread = getattr(node.metrics, field)
        if spread is not None and name not in node.catalogue:
            yield (
                name,
                Spread(mean=spread.mean * factor, stdev=spread.stdev * factor, is_fixed=spread.is_fixed),
            )
    yield from node.catalogue.items()


def _check(node: Node, spreads: dict[str, Spread], catalogue: Catalogue) -> None:
    """Raise InvalidScenarioError where a metric is unknown, or a mean outside of its range."""
    for name, spread in spreads.items():
        if name not in catalogue:
            near = near_names(name, catalogue)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise InvalidScenarioError(f"node {node.name!r}: {name!r} is not in the catalogue{hint}")
        low, high = _limits(name, catalogue)
        if not low <= spread.mean <= high:
            raise InvalidScenarioError(
                f"node {node.name!r}: {name}: {spread.mean:g} is outside of {low:g} to {high:g}"
            )
    for field, most in LOAD_FIELDS:
        spread = getattr(node.metrics, field)
        if isinstance(spread, Spread) and not 0.0 <= spread.mean <= most:
            raise InvalidScenarioError(
                f"node {node.name!r}: {field}: {spread.mean:g} is outside of 0 to {most:g}"
            )


def _limits(name: str, catalogue: Catalogue) -> tuple[float, float]:
    metric = catalogue[name]
    low = float("-inf") if metric.minimum is None else metric.minimum
    return low, float("inf") if metric.maximum is None else metric.maximum


def _mean(spread: Spread | None) -> float:
    return 0.0 if spread is None else spread.mean
