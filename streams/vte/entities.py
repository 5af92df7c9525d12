"""The entities of a scenario with their attributes, named as in the rule pack decice_v2."""

from collections.abc import Iterator

from streams.events.shapes import MAX_WORLD_ENTITIES
from streams.vte.formats import InvalidScenarioError
from streams.vte.scenario import Device, Node, Scenario
from streams.vte.values import dump_json


def attributes_of(scenario: Scenario) -> Iterator[tuple[tuple[str, str], dict[str, str]]]:
    """Attributes of all entities, in the order in which they are set: pools before what is in them."""
    for pool in scenario.vertexpools:
        labels = pool.vertexpool_labels
        yield ("nodepool", pool.id), {"labels": dump_json(labels)} if labels else {}
        for node in pool.nodes:
            yield ("node", node.key), _node_attributes(node, pool.id)
        for device in pool.devices:
            yield ("device", device.id), _device_attributes(device, pool.id)
    for link in scenario.links:
        yield ("link", link.key), {"nodepool_a": link.vertexpool_a_id, "nodepool_b": link.vertexpool_b_id}


def _node_attributes(node: Node, pool: str) -> dict[str, str]:
    found = {"nodepool": pool, "name": node.name}
    if node.system:
        found["system"] = node.system.lower()
    if node.node_info:
        found["node_info"] = dump_json(node.node_info)
    if isinstance(node.labels, dict):
        found |= {name: text for name, text in node.labels.items() if text}
    else:
        found["labels"] = dump_json(node.labels)
    return found


def _device_attributes(device: Device, pool: str) -> dict[str, str]:
    found = {"name": device.name or device.id, "nodepool": pool}
    if device.labels:
        found["labels"] = dump_json(device.labels)
    if device.device_info:
        found["device_info"] = dump_json(device.device_info)
    return found


def check_size(scenario: Scenario, step_ms: int) -> None:
    """Raise InvalidScenarioError where a world cannot be so large, or its step not so long or short."""
    if not 100 <= step_ms <= 3_600_000:
        raise InvalidScenarioError(f"step: {step_ms} ms are not within 100 ms and 1 h")
    counts = scenario.counts()
    entities = sum(count for name, count in counts.items() if name != "jobs")
    if entities > MAX_WORLD_ENTITIES:
        raise InvalidScenarioError(
            f"{entities} pools, nodes, devices and links are more than the {MAX_WORLD_ENTITIES} of a world"
        )
