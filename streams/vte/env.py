"""TwinEnv: a gymnasium environment over the twin, in one process and without Kafka."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from streams.domain.keys import entity_key
from streams.errors import TwinError
from streams.rulebook import load_rulebook
from streams.vte.engine import WorldEngine
from streams.vte.features import (
    ABSENT,
    MOST,
    NODE_FEATURES,
    TASK_FEATURES,
    Matrix,
    NodeTable,
    task_features,
)
from streams.vte.formats import read_scenario
from streams.vte.moment import Moment
from streams.vte.scenario import Scenario
from streams.vte.simulation import Facts, Simulation

MAX_STEPS = 1_000
"""[1] Steps after which an episode is truncated, unless said otherwise."""

MOST_JOBS = 1e9
"""[1] Bound of the counts of jobs in observations."""

Observed = dict[str, Matrix]
Reward = Callable[[Facts], float]
"""Gives the reward of a step from what happened in it."""


def default_reward(facts: Facts) -> float:
    """Placed and finished jobs, less waiting, lost and refused ones, and less power."""
    return (
        facts.placed
        + facts.finished
        - 0.01 * facts.waiting
        - facts.lost
        - 0.1 * facts.refused
        - 1e-6 * facts.power_watts
    )


class TwinEnv(gymnasium.Env[Observed, Any]):
    """Places the jobs of a scenario on its nodes; each step is one step of the world (docs/scenarios.md).

    An action names the node of the first waiting task, or waits (the last action). With `tasks` above 1 it is
    an array that says so for each of the first tasks.

    Args:
        scenario: a file, or a scenario; `reset` can be given another one by its options.
        tasks: how many waiting tasks are seen, and can be placed, at once.
        max_steps: after these an episode is truncated.
        max_nodes: rows of the observation, for scenarios of several sizes; else as many as the scenario has.
        step_ms: else that of the scenario.
        reward: of a step, from its Facts.
        keep_events: whether `events` and `hash` are to be had; they take memory.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # as the base class declares it

    def __init__(
        self,
        scenario: Scenario | Path | str,
        *,
        tasks: int = 1,
        max_steps: int = MAX_STEPS,
        max_nodes: int | None = None,
        step_ms: int | None = None,
        reward: Reward = default_reward,
        keep_events: bool = True,
        world: str = "env",
        render_mode: str | None = None,
    ) -> None:
        if tasks < 1 or max_steps < 1:
            raise TwinError(f"tasks {tasks} and max_steps {max_steps} must be at least 1")
        self.render_mode = render_mode
        self._scenario = _read(scenario)
        self._tasks, self._max_steps, self._step_ms = tasks, max_steps, step_ms
        self._reward, self._keep_events, self._world = reward, keep_events, world
        count = self._scenario.counts()["nodes"]
        self._rows = count if max_nodes is None else max_nodes
        self._check_size(self._scenario)
        self._catalogue = load_rulebook().catalogue
        self._wait = self._rows
        self.action_space = (
            spaces.Discrete(self._rows + 1) if tasks == 1 else spaces.MultiDiscrete([self._rows + 1] * tasks)
        )
        self.observation_space = cast(
            spaces.Space[Observed],
            spaces.Dict(
                {
                    "nodes": _box((self._rows, len(NODE_FEATURES)), ABSENT, MOST),
                    "queue": _box((2,), 0.0, MOST_JOBS),
                    "tasks": _box((tasks, len(TASK_FEATURES)), -MOST, MOST),
                }
            ),
        )
        self._simulation: Simulation | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observed, dict[str, Any]]:
        """Begin the scenario anew.

        Args:
            seed: of the simulation, as that of `twin vte run`; None: drawn from the environment's own.
            options: `scenario` takes another one for this episode.
        """
        super().reset(seed=seed)
        drawn = int(self.np_random.integers(1 << 31))
        given = (options or {}).get("scenario")
        scenario = self._scenario if given is None else _read(given)
        self._check_size(scenario)
        self._simulation = simulation = Simulation(
            scenario,
            drawn if seed is None else seed,
            self._step_ms,
            world=self._world,
            catalogue=self._catalogue,
        )
        self._engine = WorldEngine(self._catalogue, self._world, lazily=True)
        self._ids = list(simulation.nodes)
        self._table = NodeTable([entity_key(self._world, "node", id) for id in self._ids], self._rows)
        self._moments: list[Moment] = []
        self._steps = 0
        self._has_jobs = bool(scenario.jobs.tasks or scenario.jobs.arrivals)
        self._take(simulation.begin())
        return self._observe(simulation), self._info(simulation, simulation.facts)

    def step(self, action: Any) -> tuple[Observed, float, bool, bool, dict[str, Any]]:
        """Place tasks, and go one step on."""
        simulation = self._running()
        self._take(simulation.advance(self._placements(simulation, action)))
        self._steps += 1
        facts = replace(simulation.facts, power_watts=self._table.power_watts())
        terminated = self._has_jobs and simulation.queue.is_over
        truncated = not terminated and self._steps >= self._max_steps
        return (
            self._observe(simulation),
            float(self._reward(facts)),
            terminated,
            truncated,
            self._info(simulation, facts),
        )

    @property
    def events(self) -> list[dict[str, Any]]:
        """Event documents of this episode so far; sent to a twin they give the same world."""
        if not self._keep_events:
            raise TwinError("events were not kept: TwinEnv(…, keep_events=True) keeps them")
        return self._running().documents(self._moments)

    @property
    def simulation(self) -> Simulation:
        """The simulation of this episode."""
        return self._running()

    def hash(self) -> str:
        """Hash of the world so far, as `twin world hash` prints it; about as slow as the episode."""
        return WorldEngine(self._catalogue, self._world, lazily=False).replay(self.events)

    def _running(self) -> Simulation:
        if self._simulation is None:
            raise TwinError("there is no episode: call reset first")
        return self._simulation

    def _take(self, moment: Moment) -> None:
        self._table.update(self._engine.apply(moment), self._engine.states)
        if self._keep_events:
            self._moments.append(moment)

    def _placements(self, simulation: Simulation, action: Any) -> dict[str, str]:
        places = [int(action)] if self._tasks == 1 else [int(place) for place in action]
        # Rows beyond the scenario's nodes are nodes that are not there: such a placement is refused.
        return {
            job.id: self._ids[place] if place < len(self._ids) else ""
            for job, place in zip(simulation.queue.pending, places, strict=False)
            if place != self._wait
        }

    def _observe(self, simulation: Simulation) -> Observed:
        queue = simulation.queue
        counts = np.array((len(queue.pending), queue.running), dtype=np.float32)
        return {
            "nodes": self._table.features(),
            "queue": counts,
            "tasks": task_features(queue.pending, self._tasks, simulation.now_ms),
        }

    def _info(self, simulation: Simulation, facts: Facts) -> dict[str, Any]:
        return {
            **vars(facts),
            "action_mask": self._mask(simulation),
            "tasks": tuple(job.id for job in simulation.queue.pending[: self._tasks]),
        }

    def _mask(self, simulation: Simulation) -> NDArray[np.int8]:
        """Which actions would not be refused: of one task, or a row for each of several."""
        mask = np.zeros((self._tasks, self._wait + 1), dtype=np.int8)
        mask[:, self._wait] = 1
        pending = simulation.queue.pending[: self._tasks]
        if pending:
            free = simulation.free()
            rows = [row for row, id in enumerate(self._ids) if id in free]
            left = np.array([free[self._ids[row]] for row in rows]).reshape(len(rows), 3)
            for task, job in enumerate(pending):
                mask[task, rows] = (left >= job.needs).all(axis=1)
        return mask[0] if self._tasks == 1 else mask

    def _check_size(self, scenario: Scenario) -> None:
        count = scenario.counts()["nodes"]
        if not 1 <= count <= self._rows:
            raise TwinError(
                f"scenario: {count} nodes do not fit the {self._rows} of this environment;"
                " TwinEnv(…, max_nodes=N) makes room"
            )


def _read(scenario: Scenario | Path | str) -> Scenario:
    return scenario if isinstance(scenario, Scenario) else read_scenario(Path(scenario))


def _box(shape: tuple[int, ...], low: float, high: float) -> spaces.Box:
    return spaces.Box(low, high, shape, np.float32)


gymnasium.register(id="decice/Twin-v0", entry_point="streams.vte.env:TwinEnv", max_episode_steps=None)
