"""What later starts must find again: ports and secrets, chosen once and kept until `stop --wipe`."""

import json
import random
import secrets
import socket
from collections.abc import Container, Iterable
from dataclasses import asdict, dataclass, field

from .errors import StackError
from .layout import REMEMBERED_FILE, write_private

HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)
"""Below those that Linux gives to outgoing connections: none takes the port of a server that is down."""


@dataclass(frozen=True)
class Remembered:
    """Ports by their names (`kafka`, `kafka_sasl_ssl`, ...) and the secrets of this checkout's services."""

    ports: dict[str, int]
    influxdb_token: str = field(default_factory=lambda: secrets.token_hex(32))
    influxdb_password: str = field(default_factory=lambda: secrets.token_hex(24))
    kafka_password: str = field(default_factory=lambda: secrets.token_hex(24))

    def address(self, port_name: str) -> str:
        """Return `host:port` of a named port."""
        return f"{HOST}:{self.ports[port_name]}"

    def url(self, port_name: str) -> str:
        """Return the HTTP address of a named port."""
        return f"http://{self.address(port_name)}"


def recall() -> Remembered | None:
    """Return what an earlier start wrote, or None if none did since the last `stop --wipe`."""
    if not REMEMBERED_FILE.exists():
        return None
    return Remembered(**json.loads(REMEMBERED_FILE.read_text()))


def remember(remembered: Remembered) -> Remembered:
    """Write it for later starts, and return it."""
    write_private(REMEMBERED_FILE, json.dumps(asdict(remembered), indent=2) + "\n")
    return remembered


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def choose_ports(names: Iterable[str], taken: Container[int] = ()) -> dict[str, int]:
    """Choose a different free port for each name, and none of `taken`, which may be those of servers to come.

    Raises: StackError if the range is full.
    """
    candidates = (port for port in random.sample(PORTS, len(PORTS)) if port not in taken and is_free(port))
    try:
        return {name: next(candidates) for name in names}
    except StopIteration as error:
        raise StackError(f"no free port between {PORTS.start} and {PORTS.stop}") from error
