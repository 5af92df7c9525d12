from math import dist

from streams.pages.graph import MAX_MEMBERS, chart, gather
from streams.pages.totals import add_totals
from tests.factories import make_state


def entity(kind, id, status="up", simulated=False, metrics=None, source="s", **attributes):
    return {
        "kind": kind,
        "id": id,
        "status": status,
        "status_reason": "",
        "simulated": simulated,
        "attributes": attributes,
        "metrics": {name: {"value": value, "source": source} for name, value in (metrics or {}).items()},
    }


def points(topology):
    return {point["name"]: point for point in chart(topology)["series"][0]["data"]}


def test_members_are_in_the_pool_that_they_name():
    topology = gather(
        [
            entity("nodepool", "1", metrics={"number_of_cores": 8}),
            entity("node", "a", nodepool="1"),
            entity("device", "cam", status="down", nodepool="2"),
            entity("node", "lost"),
        ]
    )

    assert {id: [one.id for one in pool.members] for id, pool in topology.pools.items()} == {
        "1": ["a"],
        "2": ["cam"],
        "": ["lost"],
    }
    assert topology.pools["1"].values == {"number_of_cores": 8}
    assert (topology.pools["2"].count("device"), topology.pools["2"].count("device", "up")) == (1, 0)


def test_totals_of_a_scenario_world_are_of_its_own_nodes():
    node = {"aligned_names": ["power_watts"], "aligned_values": [100.0], "tick_ms": 5_000}
    nodes = [
        make_state(world="w", id=id, status=status, attributes=pool, **node)
        for id, status, pool in (
            ("a", "up", {"nodepool": "1"}),
            ("b", "down", {"nodepool": "1"}),
            ("c", "up", {}),
        )
    ]
    lives = [
        entity("nodepool", "1", metrics={"power_watts": 200, "nodes_count": 2}, source="twin"),
        entity("cluster", "cluster", metrics={"power_watts": 300}, source="twin"),
        entity("nodepool", "2", metrics={"power_watts": 7}),
    ]

    topology = gather(lives, add_totals(nodes, 5_000))

    pools = {id: pool.values for id, pool in topology.pools.items()}
    assert (pools["1"]["power_watts"], pools["1"]["nodes_count"], pools["1"]["nodes_down_count"]) == (
        100,
        2,
        1,
    )
    assert (pools[""]["power_watts"], pools["2"]) == (100, {"power_watts": 7})
    assert topology.whole["power_watts"] == 200


def test_a_world_without_nodes_has_no_totals():
    assert add_totals([], 5_000).whole == {}


def test_points_stay_where_they_are_when_values_change():
    before = [entity("nodepool", "1"), entity("node", "a", nodepool="1")]
    after = [entity("nodepool", "1"), entity("node", "a", nodepool="1", metrics={"cpu_usage_percent": 99})]

    one, other = points(gather(before)), points(gather(after))

    assert [(p["x"], p["y"]) for p in one.values()] == [(p["x"], p["y"]) for p in other.values()]
    assert "99 %" in other["node/a"]["value"]


def test_no_two_points_are_in_one_place():
    topology = gather(
        [entity("node", f"n{n}", nodepool=str(n % 7)) for n in range(200)]
        + [entity("nodepool", str(n)) for n in range(7)]
    )

    places = [(point["x"], point["y"]) for point in points(topology).values()]

    assert min(dist(a, b) for n, a in enumerate(places) for b in places[:n]) > 5


def test_of_too_many_members_the_worst_are_drawn():
    nodes = [entity("node", f"n{n:05}", nodepool="1") for n in range(MAX_MEMBERS + 50)]
    nodes.append(entity("node", "zz", status="down", nodepool="1"))

    drawn = points(gather(nodes))

    assert len(drawn) == MAX_MEMBERS + 1
    assert "node/zz" in drawn
    assert drawn["nodepool/1"]["label"]["formatter"] == "1 (+51 not drawn)"


def test_a_link_carries_its_delay_and_one_within_a_pool_is_not_drawn():
    topology = gather(
        [
            entity("link", "1~2", metrics={"network_delay_ms": 23.66}, nodepool_a="1", nodepool_b="2"),
            entity("link", "1~1", metrics={"network_delay_ms": 0.5}, nodepool_a="1", nodepool_b="1"),
            entity("link", "2~1", status="down", nodepool_a="2", nodepool_b="1"),
        ]
    )

    links = chart(topology)["series"][0]["links"]

    assert [(link["source"], link["target"], link["label"]["formatter"]) for link in links] == [
        ("nodepool/1", "nodepool/2", "23.66 ms"),
        ("nodepool/2", "nodepool/1", ""),
    ]


def test_a_status_that_is_none_counts_as_unknown():
    topology = gather([entity("node", "a", status="confused", nodepool="1")])

    assert topology.pools["1"].count("node", "unknown") == 1


def test_an_empty_world_is_an_empty_graph():
    assert chart(gather([]))["series"][0]["data"] == []
