"""Telegraf, which the benchmarks compare our sink with: built on demand, never started here."""

import os
from pathlib import Path

from .cache import cached
from .layout import CACHE, make_root
from .tools import obtain, path_of, run_step

VERSION = "1.37.2"
NAME = f"telegraf-{VERSION}"

TAGS = "custom,inputs.kafka_consumer,parsers.avro,outputs.influxdb_v2,outputs.discard"
"""Only the plugins that the comparison uses; with all, the build takes several times as long."""


def telegraf() -> Path:
    """Return the path of the binary, built at first use."""
    make_root()
    obtain(set() if (CACHE / NAME).is_dir() else {"go"})
    return cached(NAME, _build) / "telegraf"


def _build(folder: Path) -> None:
    module = f"github.com/influxdata/telegraf/cmd/telegraf@v{VERSION}"
    run_step(
        "install-telegraf",
        [path_of("go"), "install", "-trimpath", "-tags", TAGS, module],
        os.environ | {"GOBIN": str(folder)},
        folder,
    )
