import json
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from streams.domain.keys import entity_key
from streams.errors import TwinError
from streams.rulebook import load_rulebook
from streams.vte import TwinEnv
from streams.vte.engine import WorldEngine
from streams.vte.features import NODE_FEATURES, TASK_FEATURES
from streams.vte.formats import read_scenario
from streams.vte.simulation import Facts, Simulation, first_fit

EXAMPLE = Path(__file__).parents[2] / "docs/examples/scenario.yaml"
CATALOGUE = load_rulebook().catalogue


def feature(observed: dict[str, Any], row: int, name: str) -> float:
    return float(observed["nodes"][row, NODE_FEATURES.index(name)])


def place_first_fit(env: TwinEnv, tasks: int) -> Any:
    """The action that `twin vte run` would take, as far as the environment sees the tasks."""
    simulation = env.simulation
    placements, ids = first_fit(simulation), list(simulation.nodes)
    places = [
        ids.index(placements[job.id]) if job.id in placements else len(ids)
        for job in simulation.queue.pending[:tasks]
    ]
    places += [len(ids)] * (tasks - len(places))
    return places[0] if tasks == 1 else np.array(places)


@pytest.mark.parametrize("tasks", [1, 4])
def test_gymnasium_itself_finds_no_fault(tasks: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make("decice/Twin-v0", scenario=EXAMPLE, tasks=tasks, disable_env_checker=True)
        check_env(env.unwrapped)


def test_an_observation_has_the_features_in_their_order() -> None:
    env = TwinEnv(EXAMPLE)

    observed, info = env.reset(seed=1)

    assert observed["nodes"].dtype == np.float32
    assert feature(observed, 0, "cpu_util") == 35
    assert feature(observed, 0, "mem_total_mb") == 128 * 1024
    assert feature(observed, 0, "network_bandwidth_mbps") == 10_000
    assert feature(observed, 0, "available_cpu_cores") == pytest.approx(32 * 0.65)
    assert (feature(observed, 2, "free_gpus"), feature(observed, 0, "free_gpus")) == (2, 0)
    assert observed["tasks"].shape == (1, len(TASK_FEATURES))
    assert list(observed["tasks"][0]) == [-1.0] * len(TASK_FEATURES)
    assert list(info["action_mask"]) == [0] * 5 + [1]


def test_what_is_absent_is_never_idle(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("name: t\nvertexpools: [{id: a, nodes: [{name: n}]}]")

    observed, _ = TwinEnv(path).reset(seed=1)

    assert feature(observed, 0, "cpu_util") == -1
    assert feature(observed, 0, "available_cpu_cores") == -1


def test_a_task_is_placed_and_the_node_shows_it() -> None:
    env = TwinEnv(EXAMPLE)
    _, info = env.reset(seed=1)
    while not info["tasks"]:
        _, _, _, _, info = env.step(5)
    task = info["tasks"][0]

    observed, _, _, _, info = env.step(2)

    job = env.simulation.queue.jobs[task]
    assert (info["placed"], job.node) == (1, "cloud-3")
    assert feature(observed, 2, "free_cpu_cores") == 32 - job.needs[0]


def test_a_node_that_is_down_shows_that_it_is() -> None:
    env = TwinEnv(EXAMPLE)
    env.reset(seed=1)

    seen = []
    for _ in range(40):
        observed, *_ = env.step(5)
        can_take = "cloud-1" in env.simulation.free()
        seen.append((feature(observed, 0, "up"), feature(observed, 0, "cpu_util"), can_take))

    last_util = seen[22][1]
    assert seen[22] == (1, last_util, True)
    assert seen[23] == seen[34] == (0, last_util, False)
    assert (seen[35][0], seen[35][2]) == (1, True)
    assert seen[35][1] != last_util


@pytest.mark.parametrize("tasks", [1, 8])
def test_an_environment_gives_the_hash_of_its_events(tasks: int) -> None:
    env = TwinEnv(EXAMPLE, tasks=tasks, world="w1")
    env.reset(seed=3)
    for _ in range(60):
        env.step(place_first_fit(env, tasks))
    written = json.loads(json.dumps(env.events))

    assert env.hash() == WorldEngine(CATALOGUE, "w1", lazily=False).replay(written)


def test_an_environment_and_the_command_give_the_same_events() -> None:
    env = TwinEnv(EXAMPLE, tasks=20, world="w1")
    env.reset(seed=3)
    simulation = Simulation(read_scenario(EXAMPLE), 3, world="w1")
    documents = simulation.setup()
    for _ in range(60):
        env.step(place_first_fit(env, 20))
        documents += simulation.step()

    assert env.events == documents


def test_looking_at_what_changes_gives_the_records_that_looking_at_all_gives() -> None:
    simulation = Simulation(read_scenario(EXAMPLE), 3, world="w1")
    moments = [simulation.begin()] + [simulation.advance(first_fit(simulation)) for _ in range(80)]
    lazy, eager = (WorldEngine(CATALOGUE, "w1", lazily=lazily) for lazily in (True, False))
    for moment in moments:
        lazy.apply(moment)
        eager.apply(moment)

    changed = {row.id for row in moments[-1].rows if row.kind == "node"}
    keys = [entity_key("w1", "node", id) for id in changed]
    assert len(keys) == 5
    for key in keys:
        told = [
            {name: value for name, value in engine.states[key].items() if name != "due_ms"}
            for engine in (lazy, eager)
        ]
        assert told[0] == told[1]


def test_the_reward_is_given_what_happened() -> None:
    seen: list[Facts] = []
    env = TwinEnv(EXAMPLE, reward=lambda facts: (seen.append(facts), 7.0)[1])
    env.reset(seed=1)

    _, reward, *_ = env.step(5)

    assert reward == 7.0
    assert seen[0].step_ms == 5_000
    assert seen[0].power_watts > 400


def test_an_episode_ends_with_its_jobs_or_its_steps(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "name: t\n"
        "vertexpools: [{id: a, nodes: [{name: n, metrics: {util: 1, cpu_cores: 4, mem_total: 8}}]}]\n"
        "jobs: {tasks: [{id: j, duration: 10s, requirements: {required_cpu: 1}}]}\n"
    )
    env = TwinEnv(path, max_steps=3)

    env.reset(seed=1)
    ends = [env.step(0)[2:4] for _ in range(2)]
    env.reset(seed=1)
    waits = [env.step(1)[2:4] for _ in range(3)]

    assert ends == [(False, False), (True, False)]
    assert waits == [(False, False), (False, False), (False, True)]


def test_another_scenario_can_be_given_at_a_reset_if_it_fits() -> None:
    case = Path(__file__).parents[1] / "cases/vte/decice-vte.json"
    env = TwinEnv(EXAMPLE)

    observed, info = env.reset(seed=1, options={"scenario": case})
    refused = env.step(4)

    assert observed["nodes"].shape == (5, len(NODE_FEATURES))
    assert feature(observed, 4, "up") == 0
    assert list(info["action_mask"][2:5]) == [0, 0, 0]
    assert refused[4]["refused"] == 1
    with pytest.raises(TwinError, match="max_nodes"):
        TwinEnv(case).reset(options={"scenario": EXAMPLE})


def test_an_environment_without_an_episode_says_so() -> None:
    with pytest.raises(TwinError, match="reset"):
        TwinEnv(EXAMPLE).step(0)
    with pytest.raises(TwinError, match="at least 1"):
        TwinEnv(EXAMPLE, tasks=0)
    env = TwinEnv(EXAMPLE, keep_events=False)
    env.reset()
    with pytest.raises(TwinError, match="keep_events"):
        env.hash()
