"""`twin up` as a person meets it: real processes, a first state, and nothing that stays behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

FIRST_STATE_S = 30.0
"""[s] From the start of the command; 5 to 9 on two cores, with room for a machine that is busy."""

START_DEADLINE_S = 60.0
"""[s] For a machine that is busy with something else."""

STOP_S = 15.0
"""[s] From Ctrl-C to the end of the last process; under 1 as a rule, with room for a busy machine."""


class Terminal:
    """A running `twin up` and the lines it has printed."""

    def __init__(self, data: Path, *arguments: str, **variables: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TWIN_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streams", "up", "--data", str(data), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**environment, "PYTHONUNBUFFERED": "1", "TWIN_WEB_PORT": "0", **variables},
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, pattern: str, deadline_s: float = START_DEADLINE_S) -> re.Match[str]:
        """Wait for a line with this pattern."""
        deadline = time.monotonic() + deadline_s
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if match := re.search(pattern, line):
                    return match
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"no line with {pattern!r} in:\n" + "".join(self.lines))

    def family(self) -> list[psutil.Process]:
        """All processes that it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> str:
        """Wait for its end; return all that it printed."""
        self.process.wait(STOP_S)
        self._reader.join(STOP_S)
        return "".join(self.lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line)


@contextmanager
def twin_up(data: Path, *arguments: str, **variables: str) -> Iterator[Terminal]:
    terminal = Terminal(data, *arguments, **variables)
    try:
        yield terminal
    finally:
        terminal.process.kill()
        terminal.end()


def test_first_state_comes_soon_and_ctrl_c_ends_everything(tmp_path: Path) -> None:
    with twin_up(tmp_path, "--demo") as terminal:
        first = terminal.wait_for(r"([\d.]+) s +state +first state: (\S+)")
        terminal.wait_for(r"logs: ")
        family = terminal.family()
        began = time.monotonic()
        os.killpg(terminal.process.pid, signal.SIGINT)
        output = terminal.end()
        took_s = time.monotonic() - began

        assert terminal.process.returncode == 0, output
        assert "nothing is left running" in output
        assert "twin state" in output
        assert took_s < STOP_S, output
        assert len(family) >= 5, family
        assert not [process for process in family if _runs(process)]
        assert first[2].startswith("live/")
        assert float(first[1]) < FIRST_STATE_S, output


def test_nothing_stays_behind_when_it_is_killed(tmp_path: Path) -> None:
    with twin_up(tmp_path, "--demo") as terminal:
        terminal.wait_for("web +is ready")
        family = terminal.family()

        terminal.process.kill()
        terminal.end()

        assert len(family) >= 5, family
        _gone, alive = psutil.wait_procs(family, timeout=STOP_S)
        assert not [process for process in alive if _runs(process)]


def test_terminal_that_is_closed_ends_everything(tmp_path: Path) -> None:
    with twin_up(tmp_path) as terminal:
        terminal.wait_for("roles +.*started")
        time.sleep(0.5)  # in the middle of their start
        family = terminal.family()

        os.kill(terminal.process.pid, signal.SIGHUP)
        terminal.end()

        assert family
        assert not [process for process in family if _runs(process)]


def test_second_one_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with twin_up(tmp_path) as first:
        first.wait_for("broker +embedded")
        with twin_up(tmp_path) as second:
            output = second.end()

        assert second.process.returncode == 1
        assert f"runs already in {tmp_path} (process {first.process.pid})" in output
        assert first.process.poll() is None


def test_taken_port_is_named_with_its_variable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with twin_up(tmp_path, TWIN_WEB_PORT=port) as terminal:
            output = terminal.end()

    assert terminal.process.returncode == 1
    assert f"127.0.0.1:{port}" in output
    assert "TWIN_WEB_PORT" in output


def test_an_address_that_others_reach_needs_a_key(tmp_path: Path) -> None:
    with twin_up(tmp_path, TWIN_WEB_HOST="0.0.0.0") as terminal:
        output = terminal.end()

    assert terminal.process.returncode == 2
    assert "`twin key NAME` makes one" in output
    assert "broker" not in output


def test_kafka_that_is_away_is_named_with_its_variable(tmp_path: Path) -> None:
    with twin_up(tmp_path, TWIN_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1") as terminal:
        output = terminal.end()

    assert terminal.process.returncode == 1
    assert "Traceback" not in output
    assert "TWIN_KAFKA_BOOTSTRAP_SERVERS" in output


def test_broker_that_dies_ends_it_with_an_error(tmp_path: Path) -> None:
    with twin_up(tmp_path) as terminal:
        terminal.wait_for("roles +.*started")
        broker = next(process for process in terminal.family() if process.name() == "tansu")

        broker.kill()
        output = terminal.end()

    assert terminal.process.returncode == 1
    assert "the embedded broker ended" in output


def test_killed_roles_come_back(tmp_path: Path) -> None:
    roles = ("collect", "worker", "sink", "web")
    with twin_up(tmp_path, "--demo") as terminal:
        terminal.wait_for("logs: ")
        for process in terminal.family():
            if process.cmdline()[-1:][0] in roles:
                process.kill()

        for role in roles:
            terminal.wait_for(f"{role} +ended by signal 9")
            terminal.wait_for(f"{role} +is ready again")


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
