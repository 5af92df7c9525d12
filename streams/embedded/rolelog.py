"""The log file of one role, and which of its lines the person at the terminal should see."""

import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

LEVELS = frozenset({"warning", "error", "critical"})
"""Of a JSON log line that is shown."""

PLAIN = re.compile(r"^Error: |\b(?:ERROR|CRITICAL)\b")
"""What a line that is not JSON must hold to be shown: a command's last word, or a library's own format."""

HIDDEN_KEYS = frozenset({"event", "level", "logger", "timestamp", "exception", "stack", "exc_info"})
"""Of a JSON log line; the rest is shown as key=value."""

MAX_LINES = 5
"""[1] Shown of one role within `WINDOW_S`; a flood is in the file."""

WINDOW_S = 10.0
"""[s]"""

TAIL_LINES = 15
"""[1] Of a role that is given up."""

MAX_TAIL_BYTES = 64 * 1024
"""[B] Looked at for them."""

MAX_WIDTH = 500
"""[1] Characters of a line that is shown."""


class RoleLog:
    """A log file that a child writes and we read along. The file of the run before is kept as `<name>.1`."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._offset = 0
        self._rest = b""
        self._shown_at: deque[float] = deque(maxlen=MAX_LINES)
        self._silenced = False
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.replace(path.with_name(f"{path.name}.1"))
        path.touch()

    def open(self) -> IO[bytes]:
        """For the child to append to."""
        return self.path.open("ab")

    def news(self) -> Iterator[str]:
        """What was written since the last call and should be seen, shortened."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            fresh = file.read()
        self._offset += len(fresh)
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        for line in lines:
            text = notable(line.decode(errors="replace"))
            if text is not None:
                yield from self._limited(text)

    def tail(self, lines: int = TAIL_LINES) -> list[str]:
        """The last lines that are not empty; JSON ones made readable."""
        with self.path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MAX_TAIL_BYTES))
            text = file.read().decode(errors="replace")
        return [readable(line) for line in text.splitlines() if line.strip()][-lines:]

    def _limited(self, text: str) -> Iterator[str]:
        now = self._clock()
        if len(self._shown_at) < MAX_LINES or now - self._shown_at[0] > WINDOW_S:
            self._shown_at.append(now)
            self._silenced = False
            yield text
        elif not self._silenced:
            self._silenced = True
            yield f"… and more, in {self.path}"


def notable(line: str) -> str | None:
    """The line as a person should see it, or None when it need not be seen."""
    record = _json(line)
    if record is None:
        return line.rstrip()[:MAX_WIDTH] if PLAIN.search(line) else None
    return readable(line) if record.get("level") in LEVELS else None


def readable(line: str) -> str:
    """A JSON log line as `level: event key=value …`, with the exception's last line; others as they are."""
    record = _json(line)
    if record is None:
        return line.rstrip()[:MAX_WIDTH]
    words = [f"{record.get('level', 'info')}: {record.get('event', '')}"]
    words += [f"{key}={value}" for key, value in record.items() if key not in HIDDEN_KEYS]
    if record.get("exception"):
        words.append(f"({str(record['exception']).strip().splitlines()[-1]})")
    return " ".join(words)[:MAX_WIDTH]


def _json(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
