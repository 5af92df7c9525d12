"""Runs a command that cannot outlive the process that started it, even when that one is killed with -9.

Run as a script by path, so that it costs 20 ms and imports nothing of ours:

    python -I -S leash.py <pid of the starter> <command> [<argument> …]

with a pipe from the starter as standard input and a process group of its own. On Linux the kernel does it
(`PR_SET_PDEATHSIG`, set here after the fork and kept over exec, so that the starter needs no `preexec_fn`);
it fires when the *thread* that started us ends, so start from one that lives as long as the process.
Elsewhere this process stays, and kills the group when the pipe ends, which it does with the starter.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def leash(starter: int, command: list[str], *, watch: bool) -> None:
    """Become the command, or with `watch` run it and wait for the end of either side."""
    if watch:
        _watch(command)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != starter:
        sys.exit(1)  # it died before the line above
    os.execvp(command[0], command)  # noqa: S606  # no shell is wanted


def _watch(command: list[str]) -> None:
    # The group gets the signals that are meant for the command: it decides, we pass on how it ended.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_kill_group_at_end_of_pipe, daemon=True).start()
    code = child.wait()
    os._exit(code if code >= 0 else 128 - code)


def _kill_group_at_end_of_pipe() -> None:
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    leash(int(sys.argv[1]), sys.argv[2:], watch=not sys.platform.startswith("linux"))
