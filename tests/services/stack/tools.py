"""The programs that the builds and the servers need: found, asked for, or got from Debian's packages."""

import functools
import os
import shutil
import subprocess
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from .errors import StackError
from .layout import log_file, say

BY_HAND = {
    "java": "a Java runtime, 17 or newer (Debian: apt-get install default-jre-headless)",
    "mvn": "Apache Maven, 3.6 or newer (Debian: apt-get install maven)",
    "go": "Go, 1.24 or newer",
    "cargo": "Rust, 1.72 or newer, best through rustup",
}
"""Tools with more than one way to get them, which is left to the user."""

PACKAGES = {
    "cc": ("gcc", "libc6-dev"),
    "pkg-config": ("pkg-config",),
    "openssl": ("openssl",),
    "prometheus": ("prometheus",),
    "prometheus-node-exporter": ("prometheus-node-exporter",),
    "victoria-metrics": ("victoria-metrics",),
}
"""Tools that `install` gets by itself, by their Debian packages."""

STEP_TIMEOUT_S = 1800.0
"""[s] For one build step; the longest, influxd, takes about 220 s on two cores."""


def path_of(tool: str) -> str:
    """Return the full path of a tool.

    Raises: StackError if there is none.
    """
    path = shutil.which(tool)
    if path is None:
        raise StackError(f"{tool} is missing: run the command `install` first")
    return path


def missing(tools: Collection[str]) -> list[str]:
    """Return the tools that are not on the PATH, sorted."""
    return sorted(tool for tool in tools if shutil.which(tool) is None)


def obtain(tools: Collection[str]) -> None:
    """Make sure of all `tools`, with apt-get where Debian has them.

    Raises: StackError naming every tool that the user must install.
    """
    absent = missing(tools)
    by_hand = [f"{tool}: install {BY_HAND[tool]}" for tool in absent if tool in BY_HAND]
    if by_hand:
        raise StackError("missing " + "; ".join(by_hand) + "; then run the same command again")
    if absent:
        _apt_install(absent)
        if missing(absent):
            raise StackError(
                f"apt-get brought no {', '.join(missing(absent))}; see {log_file('install-apt')}"
            )


def _apt_install(tools: Collection[str]) -> None:
    packages = [package for tool in tools for package in PACKAGES[tool]]
    apt_get = shutil.which("apt-get")
    if apt_get is None:
        raise StackError(
            f"missing {', '.join(tools)}, and there is no apt-get: put them on the PATH, then try again"
        )
    as_root = [] if os.geteuid() == 0 else [path_of("sudo"), "-n"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    say(f"apt-get install {' '.join(packages)} ...")
    began = time.monotonic()
    run_step("install-apt", [*as_root, apt_get, "-q", "update"], environment)
    run_step(
        "install-apt",
        [*as_root, apt_get, "-q", "-y", "install", "--no-install-recommends", *packages],
        environment,
    )
    _stop_packaged_copies(as_root, packages)
    say(f"apt-get install: {time.monotonic() - began:.0f} s")


def _stop_packaged_copies(as_root: list[str], packages: Collection[str]) -> None:
    """Stop what the packages may have started: it would scrape and listen beside the tests' own copies."""
    service = shutil.which("service", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    for package in packages:
        if service and Path("/etc/init.d", package).exists():
            subprocess.run([*as_root, service, package, "stop"], capture_output=True, check=False)


def run_step(
    log_name: str,
    command: Collection[str],
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> None:
    """Run one step of an installation to its end, its output appended to a log.

    Raises: StackError with the last lines of the output if it fails.
    """
    log = log_file(log_name)
    with log.open("a") as output:
        try:
            done = subprocess.run(
                list(command),
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=STEP_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StackError(f"{log_name}: {error}") from error
    if done.returncode != 0:
        raise StackError(
            f"{log_name}: `{' '.join(command)}` failed with code {done.returncode}:\n{tail(log)}"
        )


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, indented."""
    if not log.exists():
        return "  (no output)"
    return "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-lines:])


@functools.cache
def plain_environment() -> dict[str, str]:
    """Return an environment without the user's settings for java, influxd and others, which change them."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
