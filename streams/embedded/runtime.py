"""Where a running `twin up` keeps its files, and how another terminal finds it."""

import contextlib
import fcntl
import json
import os
import shlex
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from pydantic import SecretStr

from streams.errors import TwinError
from streams.settings import Settings

LOCK_FILE = "lock"
"""Held (flock) by the running `twin up`: the kernel lets go of it however that one ends."""

RUNTIME_FILE = "runtime.json"
"""The TWIN_* variables of the running one; worth something only while the lock is held."""

ENV_FILE = "env"
"""The same as shell exports."""

CLAIM_WAIT_S = 0.5
"""[s] `find_running` holds the lock for an instant to see whether somebody else does."""


def default_data_dir() -> Path:
    """`$XDG_STATE_HOME/twin`, by default `~/.local/state/twin`: the same from wherever it is asked."""
    state_home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(state_home) if Path(state_home).is_absolute() else Path.home() / ".local" / "state") / "twin"


@contextlib.contextmanager
def claim(data: Path) -> Iterator[None]:
    """Hold the data folder for this process, and forget what was announced in it at the end.

    Raises:
        TwinError: another `twin up` holds it, or it cannot be written.
    """
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (data / LOCK_FILE).open("a+")
    except OSError as error:
        raise TwinError(
            f"cannot write to {data}: {error.strerror}: name another folder with --data"
        ) from error
    with lock:
        if not _lock_within(lock, CLAIM_WAIT_S):
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise TwinError(
                f"`twin up` runs already in {data} (process {holder}): use that one, stop it with Ctrl-C"
                f" or `kill {holder}`, or name another folder with --data"
            )
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        try:
            yield
        finally:
            for name in (RUNTIME_FILE, ENV_FILE):
                (data / name).unlink(missing_ok=True)


def announce(data: Path, variables: Mapping[str, str]) -> None:
    """Write down how other terminals reach what runs here: for `find_running`, and as shell exports."""
    _write(data / RUNTIME_FILE, json.dumps(dict(variables), indent=1))
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))
    _write(data / ENV_FILE, f"# The `twin up` of process {os.getpid()}; gone when it ends.\n{exports}")


def find_running(data: Path | None = None) -> dict[str, str] | None:
    """The TWIN_* variables of the `twin up` that runs in this folder, by default the usual one."""
    folder = data or default_data_dir()
    try:
        with (folder / LOCK_FILE).open() as lock:
            if _lock_within(lock, 0.0, fcntl.LOCK_SH):
                return None
        variables = json.loads((folder / RUNTIME_FILE).read_text())
    except (OSError, ValueError):
        return None  # none runs, or it is just starting or ending
    return {str(name): str(value) for name, value in variables.items()}


def variables_of(settings: Settings) -> dict[str, str]:
    """The settings that were set, as TWIN_* variables, without secrets; paths are made absolute."""
    variables = {}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if value is not None and not isinstance(value, SecretStr):
            variables[f"TWIN_{name.upper()}"] = _text(value)
    return variables


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.absolute() if isinstance(value, Path) else value)


def _lock_within(lock: IO[str], wait_s: float, kind: int = fcntl.LOCK_EX) -> bool:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def _write(path: Path, text: str) -> None:
    # Whole or not at all: somebody may read it now.
    draft = path.with_suffix(".new")
    draft.write_text(text)
    draft.chmod(0o600)
    draft.replace(path)
