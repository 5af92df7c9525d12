import json
from statistics import correlation, mean, stdev
from typing import Any

import pytest

from streams.events import parse_event
from streams.rulebook import load_rulebook
from streams.vte.formats import InvalidScenarioError, read_scenario
from streams.vte.simulation import Simulation, first_fit

CATALOGUE = load_rulebook().catalogue
START_MS = 1_735_689_600_000


def node(name: str, util: Any = 10, **metrics: Any) -> dict[str, Any]:
    return {"name": name, "metrics": {"util": util, "cpu_cores": 4, "mem_total": 8, **metrics}}


def simulate(*nodes: dict[str, Any], seed: int = 1, **fields: Any) -> Simulation:
    document = {"name": "t", "vertexpools": [{"id": "a", "nodes": list(nodes)}], **fields}
    simulation = Simulation(read_scenario(json.dumps(document), "scenario"), seed, catalogue=CATALOGUE)
    simulation.setup()
    return simulation


def values_of(simulation: Simulation, steps: int, kind: str = "node") -> dict[str, dict[str, list[float]]]:
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(steps):
        for document in simulation.step():
            for entity in document["body"].get("entities", ()):
                if entity["kind"] == kind:
                    for name, value in entity.get("metrics", {}).items():
                        found.setdefault(entity["id"], {}).setdefault(name, []).append(value)
    return found


def jobs_of(documents: list[dict[str, Any]]) -> dict[str, str]:
    return {
        entity["id"]: entity["attributes"]["status"]
        for document in documents
        if document["type"] == "entity.set"
        for entity in document["body"]["entities"]
        if entity["kind"] == "job"
    }


def test_load_memory_and_power_follow_the_emulators_statistics() -> None:
    scattering = {"mean": 40, "stdev": 8}
    found = values_of(simulate(node("n", scattering, power_factor=2.0)), 3_000)["n"]

    cpu, mem, power = (found[f"{name}"] for name in ("cpu_usage_percent", "mem_usage_percent", "power_watts"))
    assert mean(cpu) == pytest.approx(40, abs=0.6)
    assert stdev(cpu) == pytest.approx(8, abs=0.5)
    assert all(abs(m - 0.7 * c) <= 10 + 1e-9 for c, m in zip(cpu, mem, strict=True))
    assert stdev(m - 0.7 * c for c, m in zip(cpu, mem, strict=True)) == pytest.approx(10 / 3**0.5, abs=0.3)
    assert power == pytest.approx([20 + c / 100 * 4 * 15 * 2.0 for c in cpu])


def test_loads_stay_within_0_and_100() -> None:
    found = values_of(simulate(node("n", {"mean": 95, "stdev": 60})), 300)["n"]

    for name in ("cpu_usage_percent", "mem_usage_percent"):
        assert min(found[name]) >= 0
        assert max(found[name]) <= 100
    assert {min(found["cpu_usage_percent"]), max(found["cpu_usage_percent"])} == {0, 100}


def test_delays_that_scatter_are_never_below_half_a_millisecond() -> None:
    link = {"vertexpool_a_id": "a", "vertexpool_b_id": "a", "network_delay_ms": {"mean": 1, "stdev": 2}}
    found = values_of(simulate(node("n"), links=[link]), 300, "link")["a~a"]["network_delay_ms"]

    assert min(found) == 0.5
    assert max(found) > 3


def test_the_same_seed_gives_the_same_events_and_another_seed_others() -> None:
    def run(seed: int) -> list[dict[str, Any]]:
        arrivals = [{"every": "7s", "duration": {"exponential": 20}}]
        simulation = simulate(node("n", {"mean": 40, "stdev": 8}), seed=seed, jobs={"arrivals": arrivals})
        return [document for _ in range(30) for document in simulation.step()]

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert not {document["id"] for document in run(1)} & {document["id"] for document in run(2)}


def test_setup_does_not_depend_on_the_seed() -> None:
    scenario = read_scenario(json.dumps({"name": "t", "vertexpools": [{"id": "a", "nodes": [node("n")]}]}))

    assert Simulation(scenario, 1).setup() == Simulation(scenario, 2).setup()


def test_a_node_more_does_not_change_the_others() -> None:
    scattering = {"mean": 40, "stdev": 8}

    alone = values_of(simulate(node("n", scattering)), 20)["n"]
    beside = values_of(simulate(node("m", scattering), node("n", scattering)), 20)["n"]

    assert alone == beside


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, -0.15, 0.15), (0.8, 0.7, 0.9), (1.0, 0.999, 1.001)])
def test_a_share_of_the_noise_is_common(share: float, low: float, high: float) -> None:
    scattering = {"mean": 50, "stdev": 5}
    found = values_of(simulate(node("n", scattering), node("m", scattering), correlation=share), 1_000)
    a, b = (found[id]["cpu_usage_percent"] for id in "nm")

    assert low < correlation(a, b) < high
    assert stdev(a) == pytest.approx(5, abs=0.5)


def test_a_plain_number_never_changes() -> None:
    assert values_of(simulate(node("n", 30)), 10) == {}


def test_a_job_waits_runs_and_ends_and_loads_its_node() -> None:
    task = {
        "id": "j",
        "arrives": "6s",
        "duration": "10s",
        "requirements": {"required_cpu": 2, "required_memory": "2Gi"},
    }
    simulation = simulate(node("n", 10), jobs={"tasks": [task]})

    steps = [simulation.step() for _ in range(6)]

    assert [jobs_of(documents).get("j") for documents in steps] == [
        *(None, "pending", "running", "done", None, None)
    ]
    loads = values_of_documents(steps, "n", "cpu_usage_percent")
    assert loads == [None, None, 60.0, None, 10.0, None]
    assert values_of_documents(steps, "n", "mem_usage_percent")[2] == 7.0 + 25.0
    assert values_of_documents(steps, "n", "cpu_allocated") == [None, None, 2.0, 0.0, 0.0, None]


def values_of_documents(steps: list[list[dict[str, Any]]], id: str, metric: str) -> list[float | None]:
    return [
        next(
            (
                entity["metrics"].get(metric)
                for document in documents
                if document["type"] == "entity.set"
                for entity in document["body"]["entities"]
                if entity["id"] == id
            ),
            None,
        )
        for documents in steps
    ]


def test_jobs_wait_for_room_and_those_of_higher_priority_go_first() -> None:
    tasks = [
        {"id": f"j{number}", "priority": number, "duration": "5s", "requirements": {"required_cpu": 3}}
        for number in range(3)
    ]
    simulation = simulate(node("n"), jobs={"tasks": tasks})

    running = []
    for _ in range(6):
        simulation.step()
        running += [
            job.id for job in simulation.queue.jobs.values() if job.started_ms == simulation.now_ms - 5_000
        ]

    assert running == ["j2", "j1", "j0"]


def test_a_job_loses_its_node_when_that_goes_down_and_is_placed_on_another() -> None:
    down = {
        "at": "12s",
        "type": "fault.start",
        "body": {"kind": "node_down", "selector": {"kind": "node", "ids": ["n"]}, "duration_ms": 20_000},
    }
    tasks = [{"id": "j", "duration": "30s", "requirements": {"required_cpu": 3}}]
    simulation = simulate(node("n"), node("m"), jobs={"tasks": tasks}, events=[down])

    placed = []
    for _ in range(5):
        simulation.step()
        job = simulation.queue.jobs["j"]
        placed.append((job.status, job.node, job.restarts))

    assert placed == [
        *(("running", "n", 0), ("running", "n", 0), ("pending", "", 1)),
        *(("running", "m", 1), ("running", "m", 1)),
    ]


def test_a_job_that_may_not_restart_has_failed() -> None:
    down = {
        "at": 0,
        "type": "fault.start",
        "body": {"kind": "node_down", "selector": {"kind": "node", "ids": ["n"]}},
    }
    simulation = simulate(node("n"), jobs={"tasks": [{"id": "j", "max_restarts": 0}]}, events=[down])

    simulation.step()

    assert simulation.queue.jobs["j"].status == "failed"
    assert simulation.facts.failed == 1
    assert simulation.queue.is_over


def test_less_hardware_takes_fewer_jobs() -> None:
    cut = {
        "at": "1s",
        "type": "fault.start",
        "body": {"kind": "capacity_cut", "share": 0.5, "selector": {"kind": "node", "ids": ["n"]}},
    }
    tasks = [{"id": "j", "arrives": "7s", "requirements": {"required_cpu": 3}}]
    simulation = simulate(node("n"), jobs={"tasks": tasks}, events=[cut])

    for _ in range(4):
        simulation.step()

    assert simulation.queue.jobs["j"].status == "pending"
    simulation.step({"j": "n"})
    assert simulation.facts.refused == 1


def test_a_placement_that_cannot_be_is_refused() -> None:
    simulation = simulate(node("n"), jobs={"tasks": [{"id": "j", "requirements": {"required_cpu": 5}}]})

    for placements in ({"j": "n"}, {"j": "x"}, {"x": "n"}):
        simulation.step(placements)
        assert (simulation.facts.placed, simulation.facts.refused) == (0, 1)
    assert first_fit(simulation) == {}


def test_faults_are_put_out_at_their_time_with_ids_instead_of_labels() -> None:
    events = [
        {
            "at": "7s",
            "type": "fault.start",
            "body": {"kind": "node_down", "selector": {"kind": "node", "labels": {"rack": "r1"}}},
        },
        {"at": "12s", "type": "fault.stop", "body": {"fault": "event-0"}},
    ]
    first = node("n1") | {"labels": {"rack": "r1"}}
    simulation = simulate(first, node("n2"), events=events)

    steps = [simulation.step() for _ in range(3)]

    types = [[document["type"] for document in documents] for documents in steps]
    assert types == [["world.advance"], ["fault.start", "world.advance"], ["fault.stop", "world.advance"]]
    body = steps[1][0]["body"]
    assert body["selector"] == {"kind": "node", "ids": ["n1"]}
    assert (body["fault"], body["start_ms"]) == ("event-0", START_MS + 7_000)


def test_a_node_that_an_event_removes_is_not_set_again_and_loses_its_jobs() -> None:
    gone = {"at": "6s", "type": "entity.remove", "body": {"entities": [{"kind": "node", "id": "n"}]}}
    simulation = simulate(
        node("n", {"mean": 10, "stdev": 1}), jobs={"tasks": [{"id": "j", "duration": "1h"}]}, events=[gone]
    )
    simulation.step()

    found = values_of(simulation, 3)

    assert found == {}
    assert simulation.queue.jobs["j"].status == "pending"
    assert simulation.free() == {}


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (
            ("fault.start", {"kind": "node_down", "selector": {"kind": "node", "ids": ["nn"]}}),
            "did you mean n",
        ),
        (("fault.start", {"kind": "node_down", "selector": {"kind": "node"}}), "it needs ids or labels"),
        (
            ("fault.start", {"kind": "node_down", "selector": {"kind": "node", "labels": {"a": "b"}}}),
            "no node has",
        ),
        (("fault.start", {"kind": "nod_down", "selector": {"kind": "node", "ids": ["n"]}}), "events.0: body"),
        (("entity.set", {"entities": []}), "events.0: body.entities"),
    ],
)
def test_an_event_that_cannot_be_is_refused_before_anything_begins(event: tuple[str, Any], said: str) -> None:
    type, body = event

    with pytest.raises(InvalidScenarioError, match=said):
        simulate(node("n"), events=[{"at": 0, "type": type, "body": body}])


def test_jobs_that_ended_are_forgotten_after_a_while() -> None:
    tasks = [{"id": "j", "duration": "5s"}]
    simulation = simulate(node("n"), jobs={"tasks": tasks, "keep": "10s"})

    removed = [
        document["body"]["entities"]
        for _ in range(6)
        for document in simulation.step()
        if document["type"] == "entity.remove"
    ]

    assert removed == [[{"kind": "job", "id": "j"}]]
    assert simulation.queue.is_over


def test_arrivals_keep_their_rate_and_limit() -> None:
    arrivals = [
        {"name": "p", "every": "10s", "limit": 500, "requirements": {"required_cpu": {"min": 1, "max": 3}}},
        {"name": "r", "every": "10s", "pattern": "regular", "begin": "5s", "until": "100s"},
    ]
    simulation = simulate(node("n"), jobs={"arrivals": arrivals, "keep": "365d"})
    while len(simulation.queue.jobs) < 510:
        simulation.step({})

    jobs = list(simulation.queue.jobs.values())
    poisson = [job for job in jobs if job.id.startswith("p-")]
    regular = [job.arrived_ms - START_MS for job in jobs if job.id.startswith("r-")]
    assert (poisson[-1].arrived_ms - START_MS) / 1_000 / 500 == pytest.approx(10, rel=0.15)
    assert mean(job.needs[0] for job in poisson) == pytest.approx(2, abs=0.1)
    assert regular == list(range(5_000, 100_001, 10_000))


def test_all_documents_are_valid_events_and_messages_stay_small() -> None:
    nodes = [
        node(f"n{n}", {"mean": 10, "stdev": 1}) | {"node_info": {"text": "x" * 2_000}} for n in range(450)
    ]
    document = {"name": "t", "vertexpools": [{"id": "a", "nodes": nodes}]}
    simulation = Simulation(read_scenario(json.dumps(document), "scenario"), 1, catalogue=CATALOGUE)

    documents = simulation.setup() + simulation.step()

    for one in documents:
        parse_event(one, CATALOGUE)
        assert len(json.dumps(one)) < 250_000
    assert sum(len(one["body"].get("entities", ())) for one in documents) == 1 + 450 + 450
    assert len({one["id"] for one in documents}) == len(documents)


def test_more_than_a_world_may_have_is_refused_before_anything_begins() -> None:
    document = {"name": "t", "vertexpools": [{"id": str(number)} for number in range(20_001)]}
    scenario = read_scenario(json.dumps(document), "scenario")

    with pytest.raises(InvalidScenarioError, match="20001 pools, nodes, devices and links are more than"):
        Simulation(scenario, catalogue=CATALOGUE)
    with pytest.raises(InvalidScenarioError, match="step: 50 ms"):
        Simulation(scenario, step_ms=50, catalogue=CATALOGUE)
