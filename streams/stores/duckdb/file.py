"""Opens a DuckDB file in turn with other processes.

DuckDB lets one process write a file, or many read it, never both at once; nobody can wait for its lock. So
each opens the file for what it has to do and closes it after. A second file beside it, `<name>.turn`, lets a
writer that waits go before the readers that come after it: many readers would otherwise never leave a gap.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import duckdb

T = TypeVar("T")

LOCK_WAIT_S = 2.0
"""[s] For other processes to close the file; most reads take well below one. A stop waits for this, too."""

READ_WAIT_S = 10.0
"""[s] For a writer to close the file: a batch takes 0.1 s, once in a while a second."""


@contextmanager
def read_file(path: Path, wait_s: float | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """The file, for reading, in a gap between two writes. Blocks: call it in a thread, and close it soon.

    Args:
        wait_s: [s] for a gap; None = READ_WAIT_S.

    Raises:
        duckdb.Error: no gap came within `wait_s`, or there is no such file.
        BlockingIOError: a writer, or another read of this process, took longer than `wait_s`.
    """
    deadline_s = time.monotonic() + (READ_WAIT_S if wait_s is None else wait_s)
    with _instance(path, deadline_s) as instance:
        _until(deadline_s, lambda: _attach(instance, path))
        try:
            with instance.cursor() as connection:
                connection.execute("USE history")
                yield connection
        finally:
            # Not by the connection that was given away: somebody may be interrupting that one.
            instance.execute("DETACH history")


@contextmanager
def write_file(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The file, for writing, made if it is not there; waits for others as long as LOCK_WAIT_S.

    Raises:
        duckdb.Error: another process keeps it open, or it is no such file.
        OSError: the folder cannot be written.
    """
    deadline_s = time.monotonic() + LOCK_WAIT_S
    turn = os.open(_turn_of(path), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _until(deadline_s, lambda: fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB))
        connection = _until(deadline_s, lambda: duckdb.connect(str(path)))
        connection.execute("SET enable_progress_bar = false")
        try:
            yield connection
        finally:
            connection.close()
    finally:
        os.close(turn)


def _turn_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.turn")


class _Reads:
    """What the reads of this process share."""

    lock = threading.Lock()
    instance: duckdb.DuckDBPyConnection | None = None


@contextmanager
def _instance(path: Path, deadline_s: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB without a file, for one read at a time.

    The system's locks are those of a process: a second read that closed the file would let go of the first
    one's lock, too.
    """
    if not _Reads.lock.acquire(timeout=max(0.0, deadline_s - time.monotonic())):
        raise BlockingIOError("another read of this process takes too long")
    try:
        if _Reads.instance is None:
            # What has no room in memory goes where it would go if the file itself were the database.
            _Reads.instance = duckdb.connect(config={"temp_directory": f"{path}.tmp"})
            # A bar is for a person who waits at this very process.
            _Reads.instance.execute("SET enable_progress_bar = false")
        yield _Reads.instance
    finally:
        _Reads.lock.release()


def _attach(instance: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Open the file unless a writer has it or waits for it."""
    turn = None
    # There is none before the first write; and who may only read the folder does without.
    with suppress(FileNotFoundError, PermissionError):
        turn = os.open(_turn_of(path), os.O_RDONLY)
    try:
        if turn is not None:
            fcntl.flock(turn, fcntl.LOCK_SH | fcntl.LOCK_NB)
        quoted = str(path).replace("'", "''")
        instance.execute(f"ATTACH '{quoted}' AS history (READ_ONLY)")
    finally:
        if turn is not None:
            os.close(turn)


def _until(deadline_s: float, attempt: Callable[[], T]) -> T:
    """Try again while another has the file."""
    pause_s = 0.005
    while True:
        try:
            return attempt()
        except (BlockingIOError, duckdb.Error) as error:
            if not _is_taken(error) or time.monotonic() > deadline_s:
                raise
            time.sleep(pause_s)
            pause_s = min(0.1, pause_s * 1.5)


def _is_taken(error: Exception) -> bool:
    if isinstance(error, BlockingIOError):
        return True
    # The second is said when it is this very process that has it open in the other way.
    return any(text in str(error) for text in ("set lock on file", "Unique file handle conflict"))
