"""A child process on a leash: started in a group of its own, stopped with it, gone when we are."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

LEASH = Path(__file__).with_name("leash.py")
"""Run by path: it must not import our package."""

KILL_WAIT_S = 1.0
"""[s] For the kernel to end a killed process; it needs milliseconds."""


class LeashedProcess:
    """One run of a command; its group ends with it, and it ends with us.

    Start it from a thread that lives as long as this process (see leash.py): the main thread.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, command: Sequence[str], *, env: Mapping[str, str], output: IO[bytes] | int) -> Self:
        """Start the command with exactly this environment; `output` is its stdout and stderr."""
        options: dict[str, Any] = {"stdout": output, "stderr": output, "start_new_session": True}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(LEASH), str(os.getpid())),
            *command,
            stdin=asyncio.subprocess.PIPE,
            env=dict(env),
            **options,
        )
        return cls(process)

    @property
    def pid(self) -> int:
        """Its process id, which is also that of its group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended: negative for a signal; None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for its end; return the exit code."""
        return await self._process.wait()

    async def stop(self, grace_s: float) -> int:
        """SIGTERM, and SIGKILL for what is left of the group after `grace_s` [s]; return the exit code."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), grace_s)
        return await self.kill()

    async def kill(self) -> int:
        """SIGKILL for the group; return the exit code."""
        self._signal(signal.SIGKILL)
        # Not for ever: a process in an uninterruptible wait must not keep the others from being stopped.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), KILL_WAIT_S)
        return -signal.SIGKILL if self.exit_code is None else self.exit_code

    def _signal(self, number: int) -> None:
        # After the leader is gone its number still names the group, as long as somebody is in it.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()
