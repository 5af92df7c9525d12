"""The table's element: AG Grid in the browser, which reads the stream of rows itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Importing it puts AG Grid into each page's import map.
import nicegui.elements.aggrid  # noqa: F401
from nicegui import ui
from nicegui.dependencies import esm_modules
from nicegui.element import Element
from nicegui.version import __version__ as nicegui_version

from streams.domain.catalogue import Metric

FILES = Path(__file__).parent / "static" / "livegrid"

DEFAULTS = (
    *("cpu_usage_percent", "mem_usage_percent", "power_watts", "gpu_usage_percent", "temperature_celsius"),
    *("load1", "network_receive_bytes_per_s", "network_transmit_bytes_per_s", "network_delay_ms"),
    *("cluster_power_watts", "carbon_intensity_g_per_kwh", "jobs_running", "disk_free_bytes"),
)
"""Metrics whose columns are shown first, where they occur; others of the catalogue follow."""

UNIT_ENDS = ("_percent", "_bytes_per_s", "_bytes", "_watts", "_celsius", "_seconds", "_hertz", "_rpm", "_ms")
"""What a metric's name ends with to tell its unit: a column's title leaves it out, as each cell says it."""

SHORT = {"network": "net", "temperature": "temp", "receive": "in", "transmit": "out"}
"""Words that a column has no room for."""


class LiveGrid(Element, component=FILES / "livegrid.js", esm={"twin-livegrid": str(FILES)}):
    """All entities of a world, one a row.

    Args:
        world: that is looked at.
        at: the moment, as in the API; None: now.
        has_clock: whether the world has a time of its own.
        metrics: the catalogue.
        kinds: names of kinds, in the order of their chips.
    """

    def __init__(
        self,
        world: str,
        at: str | None,
        *,
        has_clock: bool,
        metrics: Mapping[str, Metric],
        kinds: Sequence[str],
    ) -> None:
        super().__init__()
        ui.add_head_html(_preloads())
        self.props["world"] = world
        self.props["at"] = at
        self.props["has-clock"] = has_clock
        self.props["metrics"] = [described(metric) for metric in metrics.values()]
        self.props["defaults"] = list(DEFAULTS)
        self.props["kind-names"] = list(kinds)

    def look_at(self, at: str | None) -> None:
        """Show another moment; None: now."""
        self.run_method("look_at", at)

    def set_counts(self, counts: Mapping[str, int]) -> None:
        """How many entities of each kind the world has, whatever is filtered."""
        self.run_method("set_counts", dict(counts))


def _preloads() -> str:
    """Lets the browser fetch at once what draws the rows, not when the page is built."""
    folders = {
        module.name: f"/_nicegui/{nicegui_version}/esm/{key}/"
        for key, module in esm_modules.items()
        if module.name in ("nicegui-aggrid", "twin-livegrid")
    }
    own = folders["twin-livegrid"]
    names = sorted(path.name for path in FILES.glob("*.js") if path.name != "livegrid.js")
    urls = [folders["nicegui-aggrid"] + "index.js", *(own + name for name in names)]
    return "".join(f'<link rel="modulepreload" href="{url}">' for url in urls)


def described(metric: Metric) -> dict[str, Any]:
    """What the browser needs to know of a metric."""
    form = ""
    if metric.kind == "state" and (metric.minimum, metric.maximum) == (0, 1):
        form = "flag"
    elif metric.name.endswith("_time_seconds"):
        form = "time"
    return {
        "name": metric.name,
        "unit": metric.unit,
        "label": label_of(metric.name),
        "doc": metric.help,
        "form": form,
    }


def label_of(name: str) -> str:
    """A metric's name as the title of a column: cpu_usage_percent is `cpu %`, mem_total_bytes `mem total`."""
    end = next((end for end in UNIT_ENDS if name.endswith(end)), "")
    words = [SHORT.get(word, word) for word in name.removesuffix(end).split("_") if word != "usage"]
    return " ".join([*words, "%"] if end == "_percent" else words)
