"""InfluxDB 2.7 with Flux, without the web page: built from its Go module, set up with bucket and token."""

import os
import tempfile
from pathlib import Path
from typing import Any

from ..cache import cached
from ..health import answers, ask
from ..layout import CACHE, STACK, data_folder
from ..remembered import Remembered
from ..service import Service
from ..tools import path_of, run_step

VERSION = "2.7.12"
NAME = f"influxd-{VERSION}"
MODULE = STACK / "influxdb"
ORG, BUCKET, USER = "decice", "twin", "twin"

SET_UP_TIMEOUT_S = 30.0
"""[s] It hashes a password and writes to disk, which takes seconds where both cores are busy."""


def _tools() -> set[str]:
    return set() if (CACHE / NAME).is_dir() else {"go", "cargo", "cc", "pkg-config"}


def _build() -> Path:
    return cached(NAME, _build_influxd) / "influxd"


def _build_influxd(folder: Path) -> None:
    """Build what go.mod pins; a pkg-config of InfluxData's own builds flux, the Rust library inside."""
    with tempfile.TemporaryDirectory() as scratch:
        pkg_config = f"{scratch}/pkg-config"
        environment = os.environ | {
            "GOWORK": "off",
            "PKG_CONFIG": pkg_config,
            "RUSTC_WRAPPER": str(MODULE / "cap_lints.sh"),
            # flux's toolchain file asks for the very Rust 1.72; any newer one builds it.
            "RUSTUP_TOOLCHAIN": os.environ.get("RUSTUP_TOOLCHAIN", "stable"),
        }
        build = [path_of("go"), "build", "-mod=readonly", "-buildvcs=false", "-trimpath"]
        run_step(
            "install-influxd",
            [*build, "-o", pkg_config, "github.com/influxdata/pkg-config"],
            environment,
            MODULE,
        )
        flags = ["-tags", "sqlite_foreign_keys,sqlite_json", "-ldflags", f"-X main.version={VERSION}"]
        influxd = "github.com/influxdata/influxdb/v2/cmd/influxd"
        run_step(
            "install-influxd", [*build, *flags, "-o", str(folder / "influxd"), influxd], environment, MODULE
        )


def _command(remembered: Remembered) -> list[str]:
    data = data_folder("influxdb")
    return [
        str(_build()),
        "run",
        f"--bolt-path={data / 'influxd.bolt'}",
        f"--sqlite-path={data / 'influxd.sqlite'}",
        f"--engine-path={data / 'engine'}",
        f"--http-bind-address={remembered.address('influxdb')}",
        "--reporting-disabled",
        "--log-level=warn",
    ]


def _prepare(_remembered: Remembered) -> None:
    data_folder("influxdb").mkdir(mode=0o700, parents=True, exist_ok=True)


def _is_healthy(remembered: Remembered) -> bool:
    return answers(remembered.url("influxdb") + "/health")


def _set_up(remembered: Remembered) -> None:
    """Make user, organisation, bucket and token, unless an earlier start did (https://docs.influxdata.com/influxdb/v2/api/)."""
    setup = remembered.url("influxdb") + "/api/v2/setup"
    if ask(setup)["allowed"]:
        ask(
            setup,
            {
                "username": USER,
                "password": remembered.influxdb_password,
                "org": ORG,
                "bucket": BUCKET,
                "token": remembered.influxdb_token,
                "retentionPeriodSeconds": 0,
            },
            SET_UP_TIMEOUT_S,
        )


def _facts(remembered: Remembered) -> dict[str, Any]:
    return {
        "url": remembered.url("influxdb"),
        "port": remembered.ports["influxdb"],
        "org": ORG,
        "bucket": BUCKET,
        "token": remembered.influxdb_token,
        "username": USER,
        "password": remembered.influxdb_password,
    }


INFLUXDB = Service(
    name="influxdb",
    port_names=("influxdb",),
    tools=_tools,
    build=_build,
    prepare=_prepare,
    command=_command,
    is_healthy=_is_healthy,
    set_up=_set_up,
    facts=_facts,
    # influxd reads a config.yml of the folder that it is started in, unless told another place.
    # The last two as in docker-compose.yml: docs/operations.md says why.
    environment={
        "INFLUXD_CONFIG_PATH": str(data_folder("influxdb")),
        "GODEBUG": "memprofilerate=0",
        "GOGC": "200",
    },
)
