"""Keeps the roles of `twin up` running: starts, watches, restarts and stops them."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from streams.embedded.process import LeashedProcess
from streams.embedded.rolelog import RoleLog
from streams.errors import TwinError

POLL_S = 0.1
"""[s] Between looks at a role's readiness and at its log."""

QUICK_S = 30.0
"""[s] A role that dies sooner has not worked: it counts towards giving up."""

MAX_QUICK_DEATHS = 4
"""[1] In a row, then the role is given up."""

MAX_USAGE_DEATHS = 2
"""[1] The same for exit code 2, wrong settings: a restart helps only when the port was taken meanwhile."""

BACKOFF_S = 0.5
"""[s] Before the first restart; doubled with each quick death."""

STOP_GRACE_S = 3.0
"""[s] For the roles to end by themselves, so that all is over within five seconds of Ctrl-C."""

HEALTH_TIMEOUT_S = 2.0
"""[s] For one answer of /health/ready: it only reads memory."""

MAX_HEALTH_BYTES = 4_096
"""[B] Of its answer: a line or two for a person."""

Report = Callable[[str, str], None]
"""Takes the name of a role and a line for the person at the terminal."""


@dataclass(frozen=True)
class Launch:
    """One start of a role: what is run, with which environment, and where it tells that it is ready."""

    command: Sequence[str]
    env: Mapping[str, str]
    health_host: str
    health_port: int


@dataclass
class Role:
    """A role and what is known about it; `launch` is asked anew for each start, as ports may have changed."""

    name: str
    launch: Callable[[], Launch]
    log: RoleLog
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    process: LeashedProcess | None = None
    why_not: str = "not started"


class Supervisor:
    """`async with Supervisor(...) as supervisor:` runs the roles; none of them outlives it."""

    def __init__(
        self,
        roles: Mapping[str, Callable[[], Launch]],
        logs: Path,
        report: Report,
        delays_s: Mapping[str, float] | None = None,
    ) -> None:
        self._roles = [Role(name, launch, RoleLog(logs / f"{name}.log")) for name, launch in roles.items()]
        self._report = report
        self._delays_s = delays_s or {}
        self._keepers: list[asyncio.Task[None]] = []

    async def ready(self, name: str) -> None:
        """Wait until this role says for the first time that it is ready."""
        await next(role for role in self._roles if role.name == name).ready.wait()

    def why_not(self, name: str) -> str:
        """What this role last gave as the reason why it is not ready."""
        return next(role for role in self._roles if role.name == name).why_not

    def pids(self) -> dict[str, int]:
        """The process ids of the roles that run now, by name."""
        return {role.name: role.process.pid for role in self._roles if role.process}

    async def wait(self) -> None:
        """Wait until a role is given up, which raises its TwinError; else for ever."""
        done, _ = await asyncio.wait(self._keepers, return_when=asyncio.FIRST_COMPLETED)
        for keeper in done:
            keeper.result()

    async def stop(self) -> None:
        """End all roles at once: SIGTERM, and SIGKILL for those that are left after `STOP_GRACE_S`."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        running = [role.process for role in self._roles if role.process]
        await asyncio.gather(*(process.stop(STOP_GRACE_S) for process in running))

    async def __aenter__(self) -> Self:
        self._keepers = [asyncio.create_task(self._keep(role), name=role.name) for role in self._roles]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _keep(self, role: Role) -> None:
        quick_deaths = 0
        await asyncio.sleep(self._delays_s.get(role.name, 0.0))
        while True:
            started = time.monotonic()
            code = await self._run_once(role)
            lived_s = time.monotonic() - started
            quick_deaths = quick_deaths + 1 if lived_s < QUICK_S else 1
            if quick_deaths >= (MAX_USAGE_DEATHS if code == 2 else MAX_QUICK_DEATHS):
                tail = "\n".join(f"  {line}" for line in role.log.tail())
                raise TwinError(
                    f"{role.name} ended {quick_deaths} times, the last time {_how(code)} after"
                    f" {lived_s:.1f} s; the end of {role.log.path}:\n{tail}"
                )
            pause_s = BACKOFF_S * 2 ** (quick_deaths - 1)
            # Who is killed has no last words.
            words = "".join(f": {line}" for line in role.log.tail(1)) if code >= 0 else ""
            self._report(role.name, f"ended {_how(code)}, starts again in {pause_s:g} s{words}")
            await asyncio.sleep(pause_s)

    async def _run_once(self, role: Role) -> int:
        launch = role.launch()
        with role.log.open() as log:
            role.process = await LeashedProcess.start(launch.command, env=launch.env, output=log)
        ready = asyncio.create_task(self._await_ready(role, launch))
        try:
            while role.process.exit_code is None:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(role.process.wait(), POLL_S)
                for line in role.log.news():
                    self._report(role.name, line)
            # Its group may hold more than the one that ended.
            return await role.process.kill()
        finally:
            ready.cancel()

    async def _await_ready(self, role: Role, launch: Launch) -> None:
        while True:
            is_ready, role.why_not = await health(launch.health_host, launch.health_port)
            if is_ready:
                break
            await asyncio.sleep(POLL_S)
        if role.ready.is_set():
            self._report(role.name, "is ready again")
        role.ready.set()


async def health(host: str, port: int) -> tuple[bool, str]:
    """Whether `GET /health/ready` there answers 200, and its body, or why there is none."""
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET /health/ready HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n".encode())
                answer = b""
                while len(answer) < MAX_HEALTH_BYTES and (more := await reader.read(MAX_HEALTH_BYTES)):
                    answer += more
            finally:
                writer.close()
    except TimeoutError:
        return False, f"no answer within {HEALTH_TIMEOUT_S:g} s"
    except OSError:
        return False, "no answer yet"
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split()[1:2] == [b"200"], " ".join(body.decode(errors="replace").split())


def _how(code: int) -> str:
    return f"by signal {-code}" if code < 0 else f"with exit code {code}"


def child_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Our own environment with these variables; what a role prints reaches its log at once."""
    return {**os.environ, **variables, "PYTHONUNBUFFERED": "1"}
