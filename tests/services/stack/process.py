"""One server process that outlives the command which started it, found again by its pid file."""

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .layout import ROOT

POLL_S = 0.05
"""[s] Between two looks at a process or a server; short beside the seconds that a server takes."""


@dataclass(frozen=True)
class Process:
    """A process by number and start time, since Linux gives numbers out again."""

    pid: int
    started_ticks: int

    def state(self) -> str:
        """Return the letter that proc(5) gives, or "" when the process is gone.

        A zombie is gone as well: it waits for its parent, which may be a test or an init that never asks.
        """
        letter, started_ticks = _stat(self.pid)
        return letter if started_ticks == self.started_ticks and letter not in "ZX" else ""

    def is_alive(self) -> bool:
        """Return whether the process exists, be it running or paused."""
        return bool(self.state())

    def is_paused(self) -> bool:
        """Return whether the process was stopped by SIGSTOP."""
        return self.state() == "T"

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if there is still somebody to get it."""
        if self.is_alive():
            os.kill(self.pid, number)

    def wait_until_gone(self, deadline: float) -> bool:
        """Return whether the process was gone before `deadline` [s of time.monotonic]."""
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        _reap(self.pid)
        return True


def pid_file(name: str) -> Path:
    """Return the file that holds pid and start time of the service `name`."""
    return ROOT / "run" / f"{name}.pid"


def find(name: str) -> Process | None:
    """Return the live process of the service `name`, or None."""
    try:
        pid, started_ticks = map(int, pid_file(name).read_text().split())
    except FileNotFoundError:
        return None
    process = Process(pid, started_ticks)
    return process if process.is_alive() else None


def launch(name: str, command: list[str], environment: Mapping[str, str], log: Path) -> Process:
    """Start `command` in a session of its own, its output appended to `log`, and note it in the pid file.

    `posix_spawn` and not `subprocess`, whose object warns when it is dropped while the process lives on.
    """
    pid = os.posix_spawn(
        command[0],
        command,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigdef=[signal.SIGPIPE],
    )
    process = Process(pid, _stat(pid)[1])
    pid_file(name).write_text(f"{process.pid} {process.started_ticks}\n")
    return process


def forget(name: str) -> None:
    """Remove the pid file of a process that was ended."""
    pid_file(name).unlink(missing_ok=True)


def _stat(pid: int) -> tuple[str, int]:
    """Return state and start time of a process, ("", -1) for none (proc(5), fields 3 and 22)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "", -1
    fields = text[text.rindex(")") + 2 :].split()
    return fields[0], int(fields[19])


def _reap(pid: int) -> None:
    """Collect the exit status if the process is a child of this one, so that no zombie stays."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
