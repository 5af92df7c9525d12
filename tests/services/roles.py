"""Real role processes, `python -m streams <role>`, with the settings of one test."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from streams.embedded.broker import free_port
from streams.embedded.process import LeashedProcess
from streams.settings import Settings
from tests.services.waiting import until

READY_S = 60.0
"""[s] From the start of a role to ready: two seconds alone, more beside other load or after a dead member."""

STOP_S = 10.0
"""[s] From SIGTERM to the end."""

FAILED = pytest.StashKey[bool]()
"""Whether a test failed: then what it made stays to be looked at."""


class Role:
    """One role: started, asked whether it is ready, killed, paused, and started again as a supervisor would.

    Args:
        name: of the command, such as `worker`.
        log: where its output goes, of all its lives.
        more: variables beside those of the settings.
    """

    def __init__(
        self, name: str, settings: Settings, log: Path, more: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self.port = free_port()
        self.exit_codes: list[int] = []
        self._environment = environment(settings) | {
            "TWIN_METRICS_PORT": str(self.port),
            "TWIN_WEB_PORT": str(self.port),
            "TWIN_LOG_FORMAT": "json",
            **(more or {}),
        }
        self._process: LeashedProcess | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Process id of its present life."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it is alive."""
        return self._process is not None and self._process.exit_code is None

    async def start(self) -> None:
        """Start the process; `ready` waits for it."""
        assert not self.runs, f"{self.name} runs already"
        with self.log.open("ab") as output:
            self._process = await LeashedProcess.start(
                [sys.executable, "-m", "streams", self.name], env=self._environment, output=output
            )

    async def is_ready(self) -> bool:
        """Whether /health/ready says so; an error when the process ended and nobody starts it again."""
        if self._supervisor is None and not self.runs:
            raise AssertionError(f"{self.name} ended with {await self.wait()}:\n{self.tail()}")
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            return (await self.get("/health/ready"))[0] == 200
        return False

    async def ready(self, deadline_s: float = READY_S) -> None:
        """Wait until it is ready."""
        await until(self.is_ready, deadline_s, f"{self.name} is ready")

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of an answer of its HTTP server."""
        timeout = aiohttp.ClientTimeout(total=5)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"http://127.0.0.1:{self.port}{path}") as answer,
        ):
            return answer.status, await answer.text()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it is alive to get it."""
        if self.runs:
            os.kill(self.pid, number)

    async def wait(self) -> int:
        """Wait for its end; return the exit code, negative for a signal."""
        assert self._process is not None, f"{self.name} was not started"
        return await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL, and wait; a supervised one starts again by itself."""
        if self._process is not None:
            await self._process.kill()

    async def stop(self) -> int:
        """SIGTERM, and SIGKILL for one that does not heed it; return the exit code."""
        await self.unsupervise()
        assert self._process is not None, f"{self.name} was not started"
        self.send(signal.SIGCONT)
        return await self._process.stop(STOP_S)

    async def supervise(self) -> None:
        """From now on start it again whenever it ends, as `twin up`, systemd or Kubernetes do."""
        if not self.runs:
            await self.start()
        self._supervisor = asyncio.create_task(self._keep(), name=f"supervisor of {self.name}")

    async def unsupervise(self) -> None:
        """Leave it alone again."""
        task, self._supervisor = self._supervisor, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def close(self) -> None:
        """End it whatever it does."""
        await self.unsupervise()
        await self.kill()

    def tail(self, lines: int = 60) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    async def _keep(self) -> None:
        while True:
            self.exit_codes.append(await self.wait())
            await self.start()


def environment(settings: Settings) -> dict[str, str]:
    """The environment of a process that shall have these settings, and no others from outside."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TWIN_")}
    return inherited | {
        f"TWIN_{name.upper()}": _text(getattr(settings, name))
        for name in sorted(settings.model_fields_set)
        if getattr(settings, name) is not None
    }


def _text(value: Any) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


@contextlib.asynccontextmanager
async def paused(role: Role) -> AsyncIterator[None]:
    """SIGSTOP within, SIGCONT after."""
    role.send(signal.SIGSTOP)
    try:
        yield
    finally:
        role.send(signal.SIGCONT)


async def run(
    arguments: list[str], settings: Settings, deadline_s: float = 60.0, more: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Run a command of `twin` to its end; exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(settings) | dict(more or {}),
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), deadline_s)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        raise AssertionError(
            f"twin {' '.join(arguments)} did not end within {deadline_s:.0f} s:\n"
            f"{out.decode()}\n{err.decode()}"
        ) from None
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
