"""One question in Kafka's own protocol, whether the broker counts itself as alive."""

import socket
import struct

from ..health import ANSWER_TIMEOUT_S

METADATA_KEY, METADATA_VERSION = 3, 1
"""The oldest version that Kafka 4 answers and that tells the brokers (https://kafka.apache.org/protocol#The_Messages_Metadata)."""

REQUEST_BODY = struct.pack(">hhihi", METADATA_KEY, METADATA_VERSION, 0, -1, 0)
"""Key, version, correlation id, no client id, no topics."""


def has_live_broker(host: str, port: int) -> bool:
    """Return whether the broker at `host:port` answers and names a live broker, which is itself.

    An open port is not enough: a starting broker is fenced for some seconds, and its topics have no leader.
    """
    try:
        with socket.create_connection((host, port), timeout=ANSWER_TIMEOUT_S) as connection:
            connection.sendall(struct.pack(">i", len(REQUEST_BODY)) + REQUEST_BODY)
            with connection.makefile("rb") as answer:
                head = answer.read(12)
    except OSError:
        return False
    if len(head) < 12:
        return False
    _size, _correlation_id, brokers = struct.unpack(">iii", head)
    return bool(brokers > 0)
