"""Prometheus remote write 1.0: samples to protobuf, by hand, for there are four kinds of message.

Format: https://prometheus.io/docs/specs/prw/remote_write_spec/ (1.0) and `prompb/types.proto` of Prometheus
2.42. WriteRequest {1: TimeSeries {1: Label {1: name, 2: value}, 2: Sample {1: double, 2: int64 [ms]}}}.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

_SAMPLE = Struct("<BBBd")
_FIXED_DOUBLE = 0x09
_VARINT_TIME = b"\x10"


class Sample(NamedTuple):
    """A value of a series.

    Args:
        series: the labels, encoded, the name among them.
        at_ms: [ms since the epoch]
    """

    series: bytes
    at_ms: int
    value: float


def encode_labels(labels: Mapping[str, str]) -> bytes:
    """The labels of a series, in order of their names, as the format asks."""
    parts = []
    for name, value in sorted(labels.items()):
        label = _text(0x0A, name) + _text(0x12, value)
        parts.append(b"\x0a" + varint(len(label)) + label)
    return b"".join(parts)


def decode_labels(series: bytes) -> dict[str, str]:
    """What `encode_labels` encoded."""
    labels, place = {}, 0
    while place < len(series):
        _, place = _read_varint(series, place + 1)
        texts = []
        for _ in range(2):
            size, place = _read_varint(series, place + 1)
            texts.append(series[place : place + size].decode())
            place += size
        labels[texts[0]] = texts[1]
    return labels


def encode_request(samples: Iterable[Sample]) -> bytes:
    """A WriteRequest: each series once, its samples in the order in which they come."""
    series: dict[bytes, list[bytes]] = {}
    for labels, at_ms, value in samples:
        time = _time(at_ms)
        sample = _SAMPLE.pack(0x12, 9 + len(time), _FIXED_DOUBLE, value) + time
        series.setdefault(labels, []).append(sample)
    parts: list[bytes] = []
    for labels, encoded in series.items():
        body = labels + b"".join(encoded)
        parts += (b"\x0a", varint(len(body)), body)
    return b"".join(parts)


def varint(number: int) -> bytes:
    """A whole number, seven bits a byte; a negative one as its two's complement of 64 bits."""
    number &= (1 << 64) - 1
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


@lru_cache(4_096)
def _time(at_ms: int) -> bytes:
    return _VARINT_TIME + varint(at_ms)


def _text(tag: int, text: str) -> bytes:
    encoded = text.encode(errors="replace")
    return bytes((tag,)) + varint(len(encoded)) + encoded


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    number, shift = 0, 0
    while True:
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
        shift += 7
