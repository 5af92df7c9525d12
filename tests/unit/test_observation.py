"""What is refused before it is applied."""

from typing import Any

import pytest

from streams.domain.observation import check_observation
from streams.errors import InvalidMessageError
from streams.records import Observation
from tests.reference.messages import clock, failure, values

T = 1_751_552_585_000


def observed(**fields: Any) -> Observation:
    """Two samples of one node, with fields put in afterwards."""
    readings = {("node", "ws01"): [("load1", 1.0, T), ("watts", 5.0, T)]}
    message: dict[str, Any] = dict(values(T, "node_exporter", (0, 1), readings))
    return message | fields  # type: ignore[return-value]  # the fields of an Observation


@pytest.mark.parametrize("message", [observed(), clock(T), failure(T, "node_exporter", (0, 1))])
def test_sound_messages_pass(message: Observation) -> None:
    check_observation(message)


def test_an_observation_of_nothing_passes() -> None:
    check_observation(values(T, "node_exporter", (0, 1), {}))


@pytest.mark.parametrize(
    ("fields", "reason", "text"),
    [
        ({"type": "rumour"}, "type", "'rumour' is not one of values, failure, clock"),
        ({"ids": []}, "arrays", "ids: 0 where 1 must be"),
        ({"source": "twin"}, "source", "'twin' is the twin itself"),
        (
            {"kinds": ["node"] * 2, "ids": ["ws01"] * 2, "sizes": [1, 1], "attributes": [{}, {}]},
            "arrays",
            "ids: an entity occurs twice",
        ),
        ({"sizes": [1, 1]}, "arrays", "sizes: 2 where 1 must be"),
        ({"sizes": [3]}, "arrays", "sizes, added up,: 3 where 2 must be"),
        ({"attributes": []}, "arrays", "attributes: 0 where 1 must be"),
        ({"metrics": [0]}, "arrays", "metrics: 1 where 2 must be"),
        ({"times_ms": [T]}, "arrays", "times_ms: 1 where 2 must be"),
        ({"forms": [0]}, "arrays", "forms: 1 where 2 must be"),
        ({"metrics": [0, 2]}, "arrays", "an index is outside of the 2 names"),
        ({"metrics": [-1, 0]}, "arrays", "an index is outside of the 2 names"),
        ({"times_ms": [T, 0]}, "times", "0 is not after 1970"),
    ],
)
def test_others_are_refused_with_the_reason(fields: dict[str, Any], reason: str, text: str) -> None:
    with pytest.raises(InvalidMessageError, match=text) as refused:
        check_observation(observed(**fields))

    assert refused.value.reason == reason


def test_a_negative_size_is_refused_although_the_sum_fits() -> None:
    message = observed(kinds=["node", "node"], ids=["a", "b"], attributes=[{}, {}], sizes=[3, -1])

    with pytest.raises(InvalidMessageError, match="sizes: -1 is negative"):
        check_observation(message)
