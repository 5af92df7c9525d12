"""Prometheus, the node_exporter that it scrapes, and a Prometheus to write to, from Debian's packages."""

from typing import Any

from .health import answers, ask
from .layout import ROOT, data_folder, write_private
from .remembered import Remembered
from .service import Service
from .tools import path_of

SCRAPE_INTERVAL_S = 1
"""[s] As short as Prometheus is used with, so that tests which await a new sample are quick."""

TARGETS = {"prometheus": "prometheus", "node": "node_exporter"}
"""Job name -> name of the scraped port."""

HISTORY_CONFIGURATION = """\
# Ticks of different entities and batches that are sent again do not come in order of time.
storage: {tsdb: {out_of_order_time_window: 30d}}
"""
"""Of the one that takes remote writes; it scrapes nothing."""


def _configuration(remembered: Remembered) -> str:
    jobs = "".join(
        f"  - job_name: {job}\n    static_configs: [{{targets: ['{remembered.address(port_name)}']}}]\n"
        for job, port_name in TARGETS.items()
    )
    interval = f"scrape_interval: {SCRAPE_INTERVAL_S}s, scrape_timeout: {SCRAPE_INTERVAL_S}s"
    return f"global: {{{interval}}}\nscrape_configs:\n{jobs}"


def _prepare(remembered: Remembered) -> None:
    data_folder("prometheus").mkdir(parents=True, exist_ok=True)
    write_private(ROOT / "conf" / "prometheus.yml", _configuration(remembered))


def _command(remembered: Remembered) -> list[str]:
    return [
        path_of("prometheus"),
        f"--config.file={ROOT / 'conf' / 'prometheus.yml'}",
        f"--storage.tsdb.path={data_folder('prometheus')}",
        "--storage.tsdb.retention.time=1d",
        f"--web.listen-address={remembered.address('prometheus')}",
    ]


def _is_healthy(remembered: Remembered) -> bool:
    """Return whether each target was scraped, be it up or down: a ready Prometheus may have no sample yet."""
    try:
        answer = ask(remembered.url("prometheus") + "/api/v1/query?query=up")
    except OSError:
        return False
    return {series["metric"]["job"] for series in answer["data"]["result"]} == set(TARGETS)


def _prepare_history(_remembered: Remembered) -> None:
    data_folder("prometheus_history").mkdir(parents=True, exist_ok=True)
    write_private(ROOT / "conf" / "prometheus_history.yml", HISTORY_CONFIGURATION)


def _history_command(remembered: Remembered) -> list[str]:
    return [
        path_of("prometheus"),
        f"--config.file={ROOT / 'conf' / 'prometheus_history.yml'}",
        f"--storage.tsdb.path={data_folder('prometheus_history')}",
        "--storage.tsdb.retention.time=30d",
        "--web.enable-remote-write-receiver",
        f"--web.listen-address={remembered.address('prometheus_history')}",
    ]


def _node_exporter_command(remembered: Remembered) -> list[str]:
    return [
        path_of("prometheus-node-exporter"),
        f"--web.listen-address={remembered.address('node_exporter')}",
        # Debian's build has it on; without systemd, as in a container, it logs an error at each scrape.
        "--no-collector.systemd",
    ]


def _url_and_port(port_name: str, remembered: Remembered) -> dict[str, Any]:
    return {"url": remembered.url(port_name), "port": remembered.ports[port_name]}


PROMETHEUS = Service(
    name="prometheus",
    port_names=("prometheus",),
    tools=lambda: {"prometheus"},
    prepare=_prepare,
    command=_command,
    is_healthy=_is_healthy,
    facts=lambda remembered: _url_and_port("prometheus", remembered),
)
PROMETHEUS_HISTORY = Service(
    name="prometheus_history",
    port_names=("prometheus_history",),
    tools=lambda: {"prometheus"},
    prepare=_prepare_history,
    command=_history_command,
    is_healthy=lambda remembered: answers(remembered.url("prometheus_history") + "/-/ready"),
    facts=lambda remembered: _url_and_port("prometheus_history", remembered),
)
NODE_EXPORTER = Service(
    name="node_exporter",
    port_names=("node_exporter",),
    tools=lambda: {"prometheus-node-exporter"},
    command=_node_exporter_command,
    is_healthy=lambda remembered: answers(remembered.url("node_exporter") + "/metrics"),
    facts=lambda remembered: _url_and_port("node_exporter", remembered),
)
