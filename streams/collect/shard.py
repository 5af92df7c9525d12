"""Which collector scrapes a target, when several share them."""

from hashlib import blake2b


def owner(key: str, collectors: int) -> int:
    """Number, from 1, of the collector that owns a target.

    Highest random weight (Thaler and Ravishankar 1998): one more collector takes an even share from each
    of the others, and nothing else moves.
    """
    return max(range(1, collectors + 1), key=lambda number: _weight(f"{number}/{key}"))


def is_ours(key: str, shard: str) -> bool:
    """True when collector i of n, written as in TWIN_SHARD, owns the target."""
    number, _, collectors = shard.partition("/")
    return owner(key, int(collectors)) == int(number)


def fraction(key: str) -> float:
    """A number in 0..1 that is the same for a key in every process and at every start."""
    return _weight(key) / 2**64


def _weight(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
