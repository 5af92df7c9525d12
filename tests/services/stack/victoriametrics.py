"""VictoriaMetrics on one node, from Debian's package."""

from .health import answers
from .layout import data_folder
from .remembered import Remembered
from .service import Service
from .tools import path_of


def _command(remembered: Remembered) -> list[str]:
    return [
        path_of("victoria-metrics"),
        f"-storageDataPath={data_folder('victoriametrics')}",
        f"-httpListenAddr={remembered.address('victoriametrics')}",
        "-retentionPeriod=1",
        # What is written twice counts once; without it both samples are in sums and counts.
        "-dedup.minScrapeInterval=1ms",
        "-memory.allowedBytes=256MiB",
        "-loggerLevel=WARN",
    ]


VICTORIAMETRICS = Service(
    name="victoriametrics",
    port_names=("victoriametrics",),
    tools=lambda: {"victoria-metrics"},
    command=_command,
    is_healthy=lambda remembered: answers(remembered.url("victoriametrics") + "/health"),
    facts=lambda remembered: {
        "url": remembered.url("victoriametrics"),
        "port": remembered.ports["victoriametrics"],
    },
)
