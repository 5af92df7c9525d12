"""Which entities an event means."""

from collections.abc import Iterable, Mapping

import pytest

from streams.domain.resolve import Nobody, Roster, UnresolvedError, resolve

ATTRIBUTES = {
    "ws01": {"nodepool": "1", "arch": "x86_64"},
    "ws02": {"nodepool": "1", "arch": "arm64"},
    "ws03": {"nodepool": "2"},
}


class Held:
    """Three nodes and a link."""

    def __contains__(self, key: object) -> bool:
        return key in {("node", id) for id in ATTRIBUTES} | {("link", "1~2")}

    def ids(self, kind: str) -> Iterable[str]:
        return {"node": list(ATTRIBUTES), "link": ["1~2"]}.get(kind, [])


def roster() -> Roster:
    return Roster("w1", Held())


def resolved(
    who: Roster, kind: str = "node", ids: Iterable[str] = (), labels: Mapping[str, str] | None = None
) -> list[str]:
    return resolve(who, kind, list(ids), labels or {}, ATTRIBUTES)


def faults_of(who: Roster, *arguments: object) -> list[tuple[str, str]]:
    with pytest.raises(UnresolvedError) as caught:
        resolved(who, *arguments)  # type: ignore[arg-type]
    return caught.value.faults


def test_no_ids_are_all_of_the_kind() -> None:
    assert resolved(roster()) == ["ws01", "ws02", "ws03"]


def test_ids_are_taken_once_and_in_order() -> None:
    assert resolved(roster(), "node", ["ws03", "ws01", "ws03"]) == ["ws01", "ws03"]


def test_all_labels_must_hold() -> None:
    assert resolved(roster(), "node", [], {"nodepool": "1"}) == ["ws01", "ws02"]
    assert resolved(roster(), "node", [], {"nodepool": "1", "arch": "arm64"}) == ["ws02"]
    assert resolved(roster(), "node", ["ws01", "ws03"], {"nodepool": "1"}) == ["ws01"]


def test_ids_that_do_not_exist_are_named_with_what_may_be_meant() -> None:
    assert faults_of(roster(), "node", ["ws01", "ws1", "zzz"]) == [
        ("ids.1", "there is no node 'ws1' in world w1; did you mean ws01, ws03, ws02?"),
        ("ids.2", "there is no node 'zzz' in world w1"),
    ]


def test_a_kind_without_entities_means_nothing() -> None:
    assert faults_of(roster(), "job") == [("kind", "there is no job in world w1")]


@pytest.mark.parametrize(
    ("labels", "field", "text"),
    [
        ({"nodepol": "1"}, "labels.nodepol", "did you mean nodepool?"),
        ({"zone": "1"}, "labels.zone", "has 'zone'"),
        ({"arch": "arm46"}, "labels.arch", "there is 'arm64'"),
        ({"arch": "riscv"}, "labels.arch", "there is 'arm64', 'x86_64'"),
        ({"nodepool": "2", "arch": "arm64"}, "labels", "has all of them"),
    ],
)
def test_labels_that_no_entity_has_say_which_there_are(labels: dict[str, str], field: str, text: str) -> None:
    faults = faults_of(roster(), "node", [], labels)

    assert [name for name, _ in faults] == [field]
    assert text in faults[0][1]


def test_events_before_change_who_is_there() -> None:
    who = roster()
    who.set("node", "ws09", {"nodepool": "1"})
    who.set("node", "ws03", {"nodepool": "1"})
    who.set("node", "ws02", {"nodepool": ""})
    who.remove("node", "ws01")

    assert resolved(who) == ["ws02", "ws03", "ws09"]
    assert resolved(who, "node", [], {"nodepool": "1"}) == ["ws03", "ws09"]
    assert faults_of(who, "node", ["ws01"])[0][0] == "ids.0"


def test_an_entity_that_was_removed_and_made_anew_has_no_attribute_of_before() -> None:
    who = roster()
    who.remove("node", "ws01")
    who.set("node", "ws01", {"nodepool": "7"})
    who.set("node", "ws01", {"rack": "4"})

    assert who.attributes("node", "ws01", ATTRIBUTES["ws01"]) == {"nodepool": "7", "rack": "4"}


def test_a_world_that_has_just_been_made_has_what_the_events_set() -> None:
    who = Roster("w2", Nobody())
    assert faults_of(who, "node")[0][0] == "kind"

    who.set("node", "a", {})

    assert resolved(who) == ["a"]


def test_an_error_of_many_ids_looks_for_near_names_of_the_first_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.domain.resolve.NEAR_SOUGHT", 1)

    faults = faults_of(roster(), "node", ["ws1", "ws2"])

    assert "did you mean" in faults[0][1]
    assert "did you mean" not in faults[1][1]
