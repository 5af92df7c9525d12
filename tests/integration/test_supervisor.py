"""Supervising: restarts, giving up, stopping in time, and leaving nothing behind; with small stand-ins."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from streams.embedded import process as process_module
from streams.embedded import supervisor as supervisor_module
from streams.embedded.broker import free_port
from streams.embedded.process import LEASH, LeashedProcess
from streams.embedded.supervisor import Launch, Supervisor, child_environment
from streams.errors import TwinError

SERVER = """
import http.server, os, sys
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health/ready" else 404)
        self.end_headers()
    def log_message(self, *_):
        pass
print('{"level": "info", "event": "hidden"}', file=sys.stderr)
print('{"level": "warning", "event": "seen", "target": "t1"}', file=sys.stderr)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Health).serve_forever()
"""
"""A role that is well."""

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(60)"
"""A role that does not end when it is asked to."""

Told = list[tuple[str, str]]


async def test_role_that_is_well_becomes_ready_and_its_warnings_are_shown(tmp_path: Path) -> None:
    told: Told = []

    async with Supervisor({"web": _launcher(SERVER)}, tmp_path, _note(told)) as supervisor:
        await asyncio.wait_for(supervisor.ready("web"), 20)
        await _until(lambda: bool(told))

    assert told == [("web", "warning: seen target=t1")]


async def test_killed_role_is_started_again_and_says_so(tmp_path: Path) -> None:
    told: Told = []

    async with Supervisor({"web": _launcher(SERVER)}, tmp_path, _note(told)) as supervisor:
        await asyncio.wait_for(supervisor.ready("web"), 20)
        first = supervisor.pids()["web"]
        os.kill(first, signal.SIGKILL)
        await _until(lambda: ("web", "is ready again") in told)
        second = supervisor.pids()["web"]

    assert first != second
    assert any("ended by signal 9" in text for _, text in told)


async def test_role_that_dies_at_once_is_given_up_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "BACKOFF_S", 0.01)
    told: Told = []
    roles = {"sink": _launcher("raise SystemExit('no database')"), "web": _launcher(SERVER)}

    async with Supervisor(roles, tmp_path, _note(told)) as supervisor:
        with pytest.raises(TwinError, match=r"(?s)sink ended 4 times.*exit code 1.*sink\.log.*no database"):
            await asyncio.wait_for(supervisor.wait(), 20)
        pids = list(supervisor.pids().values())

    assert len([text for role, text in told if role == "sink" and "starts again" in text]) == 3
    assert not any(_runs(pid) for pid in pids)


async def test_wrong_settings_are_given_up_sooner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "BACKOFF_S", 0.01)

    async with Supervisor({"sink": _launcher("raise SystemExit(2)")}, tmp_path, _note([])) as supervisor:
        with pytest.raises(TwinError, match="sink ended 2 times"):
            await asyncio.wait_for(supervisor.wait(), 20)


async def test_deaf_roles_are_killed_within_five_seconds(tmp_path: Path) -> None:
    roles = {name: _launcher(DEAF) for name in ("a", "b", "c")}

    async with Supervisor(roles, tmp_path, _note([])) as supervisor:
        await _until(lambda: all("deaf" in (tmp_path / f"{name}.log").read_text() for name in roles))
        pids = list(supervisor.pids().values())
        began = time.monotonic()

    assert time.monotonic() - began < 15
    assert not any(_runs(pid) for pid in pids)


async def test_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    async def run_that_says(text: str) -> None:
        async with Supervisor({"a": _launcher(f"print('{text}')")}, tmp_path, _note([])):
            await _until(lambda: text in (tmp_path / "a.log").read_text())

    await run_that_says("first")
    await run_that_says("second")

    assert "first" in (tmp_path / "a.log.1").read_text()
    assert "first" not in (tmp_path / "a.log").read_text()


@pytest.mark.parametrize("watch", [False, True], ids=["by the kernel", "by a watcher"])
async def test_children_end_with_a_parent_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: bool
) -> None:
    script = (
        "import asyncio, sys, pathlib\n"
        "from streams.embedded import process\n"
        "process.LEASH = pathlib.Path(sys.argv[1])\n"
        "async def main():\n"
        "    child = [sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(60)']\n"
        "    with open(sys.argv[2], 'wb') as log:\n"
        "        started = await process.LeashedProcess.start(child, env={}, output=log)\n"
        "    print(started.pid, flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    leash = _watching_leash(tmp_path) if watch else LEASH
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(leash), str(tmp_path / "log"), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await asyncio.wait_for(parent.stdout.readline(), 20))
    await _until(lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text() == "1\n")
    family = [pid, *(child.pid for child in psutil.Process(pid).children())]

    parent.kill()
    await parent.wait()

    assert len(family) == (2 if watch else 1)
    await _until(lambda: not any(_runs(member) for member in family))


async def test_watcher_passes_signals_and_exit_codes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "LEASH", _watching_leash(tmp_path))
    codes = []

    with (tmp_path / "log").open("wb") as log:
        for script in ("raise SystemExit(7)", "import time; print(1, flush=True); time.sleep(60)"):
            child = await LeashedProcess.start([sys.executable, "-c", script], env={}, output=log)
            if "sleep" in script:
                await _until(lambda: "1" in (tmp_path / "log").read_text())
                codes.append(await child.stop(5.0))
            else:
                codes.append(await asyncio.wait_for(child.wait(), 20))

    assert codes == [7, 128 + signal.SIGTERM]


def _watching_leash(folder: Path) -> Path:
    # What other systems than Linux do, on any.
    path = folder / "leash.py"
    path.write_text(LEASH.read_text().replace('watch=not sys.platform.startswith("linux")', "watch=True"))
    return path


def _launcher(script: str) -> Callable[[], Launch]:
    def launch() -> Launch:
        port = free_port()
        return Launch([sys.executable, "-c", script, str(port)], child_environment({}), "127.0.0.1", port)

    return launch


def _note(told: Told) -> Callable[[str, str], None]:
    return lambda role, text: told.append((role, text))


async def _until(condition: Callable[[], bool], deadline_s: float = 20.0) -> None:
    async with asyncio.timeout(deadline_s):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
