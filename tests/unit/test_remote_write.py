"""Remote write: what is encoded is read back by a small reader of protobuf that shares no code with it."""

import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streams.stores.prometheus.remotewrite import Sample, decode_labels, encode_labels, encode_request, varint

LONGEST = 2**63
"""Beyond the times that fit."""

labels = st.dictionaries(
    st.text(alphabet="abc_", min_size=1, max_size=5),
    st.text(st.characters(exclude_categories=["Cs"])),
    max_size=4,
)


def read(data: bytes) -> list[tuple[int, Any]]:
    """Number and value of each field of a protobuf message."""
    fields = []
    place = 0
    while place < len(data):
        tag, place = read_number(data, place)
        value: Any
        if tag & 7 == 0:
            value, place = read_number(data, place)
        elif tag & 7 == 1:
            (value,), place = struct.unpack_from("<d", data, place), place + 8
        else:
            assert tag & 7 == 2
            size, place = read_number(data, place)
            value, place = data[place : place + size], place + size
            assert len(value) == size
        fields.append((tag >> 3, value))
    return fields


def read_number(data: bytes, place: int) -> tuple[int, int]:
    """A varint, and what follows it."""
    number = 0
    for shift in range(0, 70, 7):
        number |= (data[place] & 127) << shift
        place += 1
        if data[place - 1] < 128:
            return number, place
    raise AssertionError("a varint of more than ten bytes")


def read_request(data: bytes) -> dict[tuple[tuple[str, str], ...], list[tuple[int, float]]]:
    """The samples of each series of a WriteRequest."""
    found = {}
    for number, series in read(data):
        assert number == 1
        names: list[tuple[str, str]] = []
        samples = []
        for part, value in read(series):
            content = dict(read(value))
            if part == 1:
                names.append((content[1].decode(), content[2].decode()))
            else:
                assert part == 2
                samples.append((content[2] - 2**64 if content[2] >= LONGEST else content[2], content[1]))
        assert names == sorted(names)
        assert tuple(names) not in found
        found[tuple(names)] = samples
    return found


@given(
    st.lists(st.tuples(labels, st.integers(-LONGEST, LONGEST - 1), st.floats(allow_nan=False)), max_size=8)
)
def test_a_request_reads_back(items: list[tuple[dict[str, str], int, float]]) -> None:
    data = encode_request(Sample(encode_labels(series), at_ms, value) for series, at_ms, value in items)

    expected: dict[tuple[tuple[str, str], ...], list[tuple[int, float]]] = {}
    for series, at_ms, value in items:
        expected.setdefault(tuple(sorted(series.items())), []).append((at_ms, value))
    assert read_request(data) == expected


@given(labels)
def test_labels_read_back(series: dict[str, str]) -> None:
    assert decode_labels(encode_labels(series)) == series


def test_the_bytes_are_those_of_the_specification() -> None:
    data = encode_request([Sample(encode_labels({"b": "2", "__name__": "up"}), 300, 1.0)])

    label_name = b"\x0a\x0e" + b"\x0a\x08__name__" + b"\x12\x02up"
    label_b = b"\x0a\x06" + b"\x0a\x01b" + b"\x12\x012"
    sample = b"\x12\x0c" + b"\x09" + struct.pack("<d", 1.0) + b"\x10\xac\x02"
    assert data == b"\x0a\x26" + label_name + label_b + sample


def test_a_negative_number_takes_ten_bytes() -> None:
    assert varint(-1) == b"\xff" * 9 + b"\x01"
    assert varint(0) == b"\x00"
    assert varint(128) == b"\x80\x01"
