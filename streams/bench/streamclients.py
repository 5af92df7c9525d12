"""Clients of streams, as light as they can be: `python -m streams.bench.streamclients PORT SECONDS < paths`.

Each line of the standard input is the path of one client. Prints a line once all have their snapshot, and at
the end a JSON document: delays [ms] from `seen_ms` of what came since to its arrival, and what went wrong.
"""

import asyncio
import json
import re
import resource
import sys
import time
from array import array
from collections.abc import Callable

SEEN = re.compile(rb'"seen_ms":(\d+)')
LIVE = b"event: live\n"
HOST = "127.0.0.1"

AT_ONCE = 50
"""[1] Connections that are begun before the first of them is there."""

TAIL = 64
"""[B] Kept of what came, as a number may come in two parts."""

SETTLE_S = 5.0
"""[s] After all snapshots, until what changed while they were given is told, too."""

MAX_BEGIN_S = 120.0
"""[s] For all to have their snapshot."""


class Reader(asyncio.Protocol):
    """One client. Once it is live, what comes is timed."""

    def __init__(self, path: str, delays: "array[int]", on_live: Callable[[], None]) -> None:
        self.lost = False
        self.bytes = 0
        self._path = path
        self._delays = delays
        self._on_live = on_live
        self._is_live = False
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101
        transport.write(f"GET {self._path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        """Time what is in it."""
        self.bytes += len(data)
        data = self._tail + data
        if not self._is_live:
            place = data.find(LIVE)
            if place < 0:
                self._tail = data[-TAIL:]
                return
            self._is_live = True
            self._on_live()
            data = data[place:]
        now_ms = int(time.time() * 1000)
        end = 0
        for match in SEEN.finditer(data):
            if match.end() < len(data):
                self._delays.append(now_ms - int(match[1]))
                end = match.end()
        self._tail = data[max(end, len(data) - TAIL) :]

    def connection_lost(self, _error: Exception | None) -> None:
        """Nothing ends a stream before the measurement does."""
        self.lost = True


async def follow(port: int, seconds: float, paths: list[str]) -> dict[str, object]:
    """Open all, wait for their snapshots, and time changes for a while [s]."""
    delays: array[int] = array("q")
    waiting = len(paths)
    all_live = asyncio.Event()

    def on_live() -> None:
        nonlocal waiting
        waiting -= 1
        if waiting == 0:
            all_live.set()

    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    readers: list[Reader] = []
    for first in range(0, len(paths), AT_ONCE):
        made = [Reader(path, delays, on_live) for path in paths[first : first + AT_ONCE]]
        await asyncio.gather(*(_connect(reader, port) for reader in made))
        readers += made
    async with asyncio.timeout(MAX_BEGIN_S):
        await all_live.wait()
    begin_s = loop.time() - begun_s
    await asyncio.sleep(SETTLE_S)
    print("live", flush=True)  # noqa: T201  # whoever started this waits for it
    del delays[:]
    before = resource.getrusage(resource.RUSAGE_SELF)
    bytes_before = sum(reader.bytes for reader in readers)
    await asyncio.sleep(seconds)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "begin_s": begin_s,
        "delays_ms": sorted(delays),
        "lost": sum(reader.lost for reader in readers),
        "bytes": sum(reader.bytes for reader in readers) - bytes_before,
        "cpu_share": (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / seconds,
    }


async def _connect(reader: Reader, port: int) -> None:
    await asyncio.get_running_loop().create_connection(lambda: reader, HOST, port)


if __name__ == "__main__":
    found = asyncio.run(follow(int(sys.argv[1]), float(sys.argv[2]), sys.stdin.read().split()))
    print(json.dumps(found))  # noqa: T201  # its answer
