from streams.domain.latency import Delay, Device, Link, Links, delays, find_devices

LINKS = Links(
    [Link("a", "b", 2.0, 50), Link("b", "a", 9.0, 10), Link("b", "c", 3.0, 20), Link("a", "a", 5.0, 1)]
)
NODES = [("n1", "a"), ("n2", "b"), ("n3", "c"), ("n4", "d"), ("n5", "")]


def test_delays_to_all_devices_are_added_up_and_the_nearest_comes_first() -> None:
    assert delays(NODES, ["a", "b"], LINKS, None) == [
        Delay("n1", "a", 2.0, 50),
        Delay("n2", "b", 2.0, 50),
        Delay("n3", "c", None, None),
        Delay("n4", "d", None, None),
        Delay("n5", "", None, None),
    ]


def test_the_oldest_delay_of_a_sum_counts() -> None:
    assert delays([("n2", "b")], ["a", "c"], LINKS, None) == [Delay("n2", "b", 5.0, 20)]


def test_within_a_pool_there_is_no_delay_whatever_its_own_link_says() -> None:
    assert delays([("n1", "a")], ["a", "a"], LINKS, None) == [Delay("n1", "a", 0.0, None)]


def test_to_an_unknown_device_and_without_a_pool_there_is_no_way() -> None:
    assert delays([("n1", "a")], ["a", None], LINKS, None) == [Delay("n1", "a", None, None)]
    assert delays([("n5", "")], [""], LINKS, None) == [Delay("n5", "", None, None)]


def test_nodes_of_one_pool_have_one_delay_and_come_by_name() -> None:
    nodes = delays([("z", "b"), ("y", "b"), ("x", "a")], ["a"], LINKS, None)

    assert [(delay.node, delay.total_ms) for delay in nodes] == [("x", 0.0), ("y", 2.0), ("z", 2.0)]


def test_nodes_that_are_too_far_are_left_out() -> None:
    assert [delay.node for delay in delays(NODES, ["a"], LINKS, 2.0)] == ["n1", "n2"]
    assert delays(NODES, ["a"], LINKS, 0.0) == [Delay("n1", "a", 0.0, None)]


def test_devices_are_found_by_name_or_id_and_the_first_of_a_name_counts() -> None:
    one, two, named = Device("1", "cam", "a"), Device("2", "cam", "b"), Device("3", "1", "c")

    found = find_devices(["cam", "2", "1", "x"], [one, two, named])

    assert found == {"cam": one, "2": two, "1": named, "x": None}
