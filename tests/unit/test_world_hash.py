"""The hash of a world is that of docs/worlds.md, whatever the order in which its ticks come."""

from hashlib import sha256

from streams.domain.worldhash import world_hash
from tests.reference.world_hash import reference_hash

ROWS = [
    (5_000, "node", "b", False, ["watts", "load1"], [1.5, -0.0], [0, 2]),
    (5_000, "node", "a/ä", True, ["load1"], [0.1], [1]),
    (0, "node", "b", True, ["load1"], [2.0], [0]),
    (5_000, "_own", "x", True, ["load1"], [2.0], [0]),
]


def test_hash_is_over_the_text_of_ticks_in_order() -> None:
    text = (
        "0 node/b 1 load1=4000000000000000:0\n"
        "5000 node/a%2F%C3%A4 1 load1=3fb999999999999a:1\n"
        "5000 node/b 0 load1=8000000000000000:2 watts=3ff8000000000000:0\n"
    )

    assert world_hash(ROWS) == world_hash(ROWS[::-1]) == sha256(text.encode()).hexdigest()


def test_hash_is_that_of_the_model() -> None:
    ticks = {
        ("w1/node/b", 5_000): (False, {"watts": (1.5, 0), "load1": (-0.0, 2)}),
        ("w1/node/a%2F%C3%A4", 5_000): (True, {"load1": (0.1, 1)}),
        ("w1/node/b", 0): (True, {"load1": (2.0, 0)}),
        ("w1/_own/x", 0): (True, {"load1": (2.0, 0)}),
        ("w2/node/b", 0): (True, {"load1": (3.0, 0)}),
    }

    assert reference_hash(ticks, "w1") == world_hash(ROWS)


def test_hash_of_nothing_is_that_of_no_text() -> None:
    assert world_hash([]) == sha256(b"").hexdigest() == reference_hash({}, "w1")
