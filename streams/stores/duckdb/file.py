"""Opens a DuckDB file in turn with other processes.

DuckDB lets one process write a file, or many read it, never both at once; nobody can wait for its lock. So
each opens the file for what it has to do and closes it after. A second file beside it, `<name>.turn`, lets a
writer that waits go before the readers that come after it: many readers would otherwise never leave a gap.
"""

import fcntl
import os
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
    """
    deadline_s = time.monotonic() + (READ_WAIT_S if wait_s is None else wait_s)
    connection = _until(deadline_s, lambda: _in_turn(path))
    try:
        yield connection
    finally:
        connection.close()


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


def _in_turn(path: Path) -> duckdb.DuckDBPyConnection:
    """Open the file unless a writer has it or waits for it."""
    turn = None
    # There is none before the first write; and who may only read the folder does without.
    with suppress(FileNotFoundError, PermissionError):
        turn = os.open(_turn_of(path), os.O_RDONLY)
    try:
        if turn is not None:
            fcntl.flock(turn, fcntl.LOCK_SH | fcntl.LOCK_NB)
        connection = duckdb.connect(str(path), read_only=True)
        # A bar is for a person who waits at this very process.
        connection.execute("SET enable_progress_bar = false")
        return connection
    finally:
        if turn is not None:
            os.close(turn)


def _until(deadline_s: float, attempt: Callable[[], T]) -> T:
    """Try again while another has the file."""
    pause_s = 0.005
    while True:
        try:
            return attempt()
        except (BlockingIOError, duckdb.IOException, duckdb.ConnectionException) as error:
            if not _is_taken(error) or time.monotonic() > deadline_s:
                raise
            time.sleep(pause_s)
            pause_s = min(0.1, pause_s * 1.5)


def _is_taken(error: Exception) -> bool:
    if isinstance(error, BlockingIOError):
        return True
    # The second is said when it is this very process that has it open in the other way.
    return any(text in str(error) for text in ("set lock on file", "different configuration"))
