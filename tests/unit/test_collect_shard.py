"""Which collector scrapes what."""

from collections import Counter

from streams.collect.shard import fraction, is_ours, owner

KEYS = [f"node_exporter/http://node{number}:9100/metrics" for number in range(2_000)]


def test_each_target_has_exactly_one_owner() -> None:
    for key in KEYS[:200]:
        assert sum(is_ours(key, f"{number}/5") for number in range(1, 6)) == 1


def test_one_collector_owns_all() -> None:
    assert all(is_ours(key, "1/1") for key in KEYS)


def test_shares_are_even() -> None:
    shares = Counter(owner(key, 4) for key in KEYS)

    assert all(400 < shares[number] < 600 for number in range(1, 5))


def test_one_collector_more_moves_only_its_own_share() -> None:
    moved = [key for key in KEYS if owner(key, 4) != owner(key, 5)]

    assert all(owner(key, 5) == 5 for key in moved)
    assert len(moved) < 1.2 * len(KEYS) / 5


def test_fraction_spreads_and_stays() -> None:
    assert fraction("a") == fraction("a")
    assert 0.45 < sum(map(fraction, KEYS)) / len(KEYS) < 0.55
