"""The made-up cluster that the measurements use: node_exporter-like gauges and counters, 12 a node."""

from streams.domain.observation import new_observation
from streams.records import Observation, Scrape

METRICS = (
    ("cpu_usage_percent", 2),
    ("network_receive_bytes_per_s", 2),
    ("network_transmit_bytes_per_s", 2),
    ("mem_usage_percent", 0),
    ("mem_total_bytes", 0),
    ("number_of_cores", 0),
    ("disk_total_bytes", 0),
    ("disk_free_bytes", 0),
    ("power_watts", 0),
    ("temperature_celsius", 0),
    ("load1", 0),
    ("gpu_usage_percent", 0),
)
"""Names and forms of the metrics of one node."""

INTERVAL_MS = 5_000
"""[ms] Scrape interval of the made-up nodes."""


def values_of(node: int, turn: int) -> list[float]:
    """The values of a node's metrics at its scrape number `turn`: counters grow, gauges move."""
    wave = float((node * 7 + turn * 13) % 50)
    return [
        turn * (100.0 + wave),
        turn * 5_000_000.0 + node,
        turn * 1_000_000.0 + node,
        20.0 + wave,
        64e9,
        16.0,
        500e9,
        300e9 - turn * 1e6,
        100.0 + wave,
        40.0 + wave / 5,
        wave / 10,
        wave,
    ]


def observation(first: int, count: int, turn: int, at_ms: int, partition: int, offset: int) -> Observation:
    """One observation of `count` nodes from number `first` on, all sampled at `at_ms`."""
    size = len(METRICS)
    message = new_observation("values", at_ms)
    message["source"], message["priority"], message["target"] = "bench", 50, f"bench://{first}"
    message["interval_ms"], message["scraped_at_ms"], message["simulated"] = INTERVAL_MS, at_ms, True
    message["origin_topic"], message["origin_partition"], message["origin_offset"] = (
        "scrape",
        partition,
        offset,
    )
    message["kinds"] = ["node"] * count
    message["ids"] = [f"bench{first + i}" for i in range(count)]
    message["sizes"] = [size] * count
    message["attributes"] = [{}] * count
    message["names"] = [name for name, _ in METRICS]
    message["forms"] = [form for _, form in METRICS]
    message["metrics"] = list(range(size)) * count
    message["values"] = [value for i in range(count) for value in values_of(first + i, turn)]
    message["times_ms"] = [at_ms] * (size * count)
    return message


HOST_SERIES = (
    "host_cpu_busy_seconds_total",
    "host_network_receive_bytes_total",
    "host_network_transmit_bytes_total",
    "host_memory_available_bytes",
    "host_memory_total_bytes",
    "host_cpu_count",
    "host_disk_total_bytes",
    "host_disk_free_bytes",
    "host_temperature_celsius",
    "host_load1",
)
"""Series of the `host` pack that a made-up scrape has."""


def scrape(first: int, count: int, turn: int, at_ms: int) -> Scrape:
    """One scrape of `count` nodes by the series of the `host` pack."""
    series: list[str] = []
    values: list[float] = []
    for node in range(first, first + count):
        numbers = values_of(node, turn)
        wave = numbers[11]
        row = (
            turn * 2.0,
            numbers[1],
            numbers[2],
            20e9 + wave * 1e8,
            64e9,
            16.0,
            500e9,
            3e11,
            numbers[9],
            wave / 10,
        )
        for name, value in zip(HOST_SERIES, row, strict=True):
            series.append(f'{name}{{node="bench{node}"}}')
            values.append(value)
    return Scrape(
        source="host",
        target=f"bench://{first}",
        pack="host",
        interval_ms=INTERVAL_MS,
        scraped_at_ms=at_ms,
        ok=True,
        error="",
        simulated=True,
        series=series,
        values=values,
        times_ms=[],
        dropped={},
    )
