"""The simulation of a scenario: the same scenario, seed and placements give the same events."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from math import sqrt
from random import Random
from typing import Any

from streams.domain.catalogue import Catalogue
from streams.rulebook import load_rulebook
from streams.vte.entities import attributes_of, check_size
from streams.vte.jobs import FAILED, Job, JobQueue
from streams.vte.moment import SENDER, Moment, Row
from streams.vte.nodes import LinkModel, NodeModel
from streams.vte.plan import Plan
from streams.vte.scenario import Scenario

MAX_PLACED = 1_000
"""[1] Pending jobs that `first_fit` looks at in one step."""


@dataclass(frozen=True)
class Facts:
    """What happened in a step.

    Args:
        now_ms: [ms since the epoch] where the world clock is then.
        placed: jobs that began.
        refused: placements that could not be: no such job waits, or it does not fit on that node.
        finished: jobs that ended well.
        lost: jobs whose node went down: they wait again, or have failed.
        failed: those of them that have failed.
        arrived: jobs that came to the queue.
        waiting: jobs in the queue after the step.
        running: jobs that run after the step.
        power_watts: [W] of all nodes together, as far as the twin shows it; 0 outside of TwinEnv.
        step_ms: [ms] length of the step.
    """

    now_ms: int
    placed: int = 0
    refused: int = 0
    finished: int = 0
    lost: int = 0
    failed: int = 0
    arrived: int = 0
    waiting: int = 0
    running: int = 0
    power_watts: float = 0.0
    step_ms: int = 0


class Simulation:
    """A scenario that goes on step by step; each step is a list of event documents.

    Args:
        step_ms: else that of the scenario.
        world: name of the world that the events are for.
        owner: of that world.
        ttl_s: [s] life of that world.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int = 0,
        step_ms: int | None = None,
        *,
        world: str = "w1",
        owner: str = "vte",
        ttl_s: float = 3_600.0,
        catalogue: Catalogue | None = None,
    ) -> None:
        self.scenario, self.seed, self.world = scenario, seed, world
        self._owner, self._ttl_s = owner, ttl_s
        self.step_ms = scenario.step if step_ms is None else step_ms
        check_size(scenario, self.step_ms)
        self.start_ms = scenario.start - scenario.start % self.step_ms
        self.now_ms = self.start_ms
        catalogue = load_rulebook().catalogue if catalogue is None else catalogue
        self.nodes = {
            node.key: NodeModel(node, pool.id, seed, catalogue)
            for pool in scenario.vertexpools
            for node in pool.nodes
        }
        self.links = [LinkModel(link, seed) for link in scenario.links]
        self._varying_links = [link for link in self.links if link.varies]
        self.queue = JobQueue(scenario.jobs, seed, self.start_ms)
        shares = scenario.correlation
        self._shares = (sqrt(shares.cluster), sqrt(shares.pool))
        self._own = sqrt(max(0.0, 1.0 - shares.cluster - shares.pool))
        self._common = Random(f"{seed}/cluster")
        self._pools = {pool.id: Random(f"{seed}/pool/{pool.id}") for pool in scenario.vertexpools}
        self._attributes = dict(attributes_of(scenario))
        self._plan = Plan(scenario.events, self.start_ms, catalogue, lambda: self._attributes)
        self.facts = Facts(self.start_ms)
        self._setup_name = f"{world}-{self._digest('setup')}"
        self._step_name = f"{world}-{self._digest(str(seed))}"
        self._number = 0

    def setup(self) -> list[dict[str, Any]]:
        """Events that make the world and set everything once; the same for each seed."""
        return self._next(self.begin())

    def step(self, placements: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
        """Events of the next step, the last of which advances the world.

        Args:
            placements: id of the node for ids of pending jobs; None: the first node that a job fits on.
        """
        return self._next(self.advance(first_fit(self) if placements is None else placements))

    def documents(self, moments: Iterable[Moment], first: int = 0) -> list[dict[str, Any]]:
        """The event documents of moments; their ids follow from scenario, seed and number.

        Args:
            first: number of the first one.
        """
        found: list[dict[str, Any]] = []
        for moment in moments:
            name = self._setup_name if moment.create is not None else self._step_name
            for type, body in moment.events():
                id = f"{name}-{first + len(found)}"
                found.append({"id": id, "type": type, "world": self.world, "sender": SENDER, "body": body})
        return found

    def _next(self, moment: Moment) -> list[dict[str, Any]]:
        found = self.documents([moment], self._number)
        self._number += len(found)
        return found

    def begin(self) -> Moment:
        """The beginning; see `setup`."""
        moment = Moment(self.start_ms)
        moment.create = {
            "owner": self._owner,
            "reason": f"scenario {self.scenario.name}".strip(),
            "clock_ms": self.start_ms,
            "step_ms": self.step_ms,
            "ttl_s": self._ttl_s,
        }
        values: dict[tuple[str, str], dict[str, float]] = {
            **{("node", id): node.means() for id, node in self.nodes.items()},
            **{("link", link.id): link.mean() for link in self.links},
        }
        for (kind, id), attributes in self._attributes.items():
            metrics = values.get((kind, id), {})
            moment.rows.append(Row(kind, id, attributes, tuple(metrics), list(metrics.values())))
        arrived = self.queue.arrive(self.start_ms)
        moment.rows += [self._job_row(job, is_new=True) for job in arrived]
        self.facts = Facts(self.start_ms, arrived=len(arrived), waiting=len(arrived))
        return moment

    def can_place(self, job: Job, node: str) -> bool:
        """Whether a pending job fits on a node that is there and up."""
        model, share = self.nodes.get(node), self._plan.shares(self.now_ms).get(node, 1.0)
        return model is not None and not model.is_removed and _fits(job.needs, model.free(share))

    def free(self) -> dict[str, list[float]]:
        """Processors, memory [B] and GPUs that jobs can have now, of the nodes that are up."""
        shares = self._plan.shares(self.now_ms)
        return {
            id: node.free(share)
            for id, node in self.nodes.items()
            if not node.is_removed and (share := shares.get(id, 1.0))
        }

    def advance(self, placements: Mapping[str, str]) -> Moment:
        """The next step; see `step`."""
        to_ms = self.now_ms + self.step_ms
        moment = Moment(to_ms, to_ms=to_ms)
        placed, refused = self._place(placements)
        moment.due = list(self._plan.take(to_ms))
        self._follow(moment)
        lost = self._lose(to_ms)
        loads = self._draw()
        links = [
            Row("link", link.id, {}, ("network_delay_ms",), link.value()) for link in self._varying_links
        ]
        finished = self.queue.finish(to_ms)
        for job in finished:
            self.nodes[job.node].give_back(job.id, job.needs)
        moment.rows = [*self._node_rows(loads), *links]
        arrived = self.queue.arrive(to_ms)
        # Each job once, as it is at the end of the step.
        changed = {job.id: False for job in (*placed, *lost, *finished)} | {job.id: True for job in arrived}
        moment.rows += [self._job_row(self.queue.jobs[id], is_new) for id, is_new in changed.items()]
        moment.removed = self.queue.forget(to_ms)
        for id in moment.removed:
            self._attributes.pop(("job", id), None)
        self.now_ms = to_ms
        self.facts = Facts(
            to_ms,
            len(placed),
            refused,
            len(finished),
            len(lost),
            sum(job.status == FAILED for job in lost),
            len(arrived),
            len(self.queue.pending),
            self.queue.running,
            step_ms=self.step_ms,
        )
        return moment

    def _place(self, placements: Mapping[str, str]) -> tuple[list[Job], int]:
        placed = []
        waiting = {job.id: job for job in self.queue.pending}
        for id, node in placements.items():
            job = waiting.get(id)
            if job is not None and self.can_place(job, node):
                self.queue.start(job, node, self.now_ms)
                self.nodes[node].take(id, job.needs)
                placed.append(job)
        return placed, len(placements) - len(placed)

    def _follow(self, moment: Moment) -> None:
        """Know what the plan's own events set and remove."""
        for due in moment.due:
            for entity in due.body.get("entities", ()) if due.type.startswith("entity.") else ():
                key = (entity["kind"], entity["id"])
                if due.type == "entity.set":
                    self._attributes[key] = self._attributes.get(key, {}) | entity.get("attributes", {})
                    continue
                self._attributes.pop(key, None)
                if entity["kind"] == "node" and entity["id"] in self.nodes:
                    self.nodes[entity["id"]].is_removed = True
                self._varying_links = [link for link in self._varying_links if ("link", link.id) != key]

    def _lose(self, to_ms: int) -> list[Job]:
        shares = self._plan.shares(to_ms)
        lost = []
        for id, node in self.nodes.items():
            if node.running and (node.is_removed or not shares.get(id, 1.0)):
                for job_id in sorted(node.running):
                    job = self.queue.lose(job_id, to_ms)
                    node.give_back(job_id, job.needs)
                    lost.append(job)
        return lost

    def _draw(self) -> dict[str, tuple[bool, list[float]]]:
        """Of nodes whose load is new: whether jobs came or went before, and their values."""
        cluster = self._shares[0] * self._common.gauss(0.0, 1.0)
        common = {
            id: cluster + self._shares[1] * random.gauss(0.0, 1.0) for id, random in self._pools.items()
        }
        loads = {}
        for id, node in self.nodes.items():
            if not node.is_removed and (node.varies or node.is_touched):
                loads[id] = node.is_touched, node.values(common[node.pool], self._own)
                node.is_touched = False
        return loads

    def _node_rows(self, loads: dict[str, tuple[bool, list[float]]]) -> Iterator[Row]:
        """What nodes show: the load of the step, and what jobs have at its end."""
        for id, node in self.nodes.items():
            was_touched, values = loads.get(id, (False, []))
            if was_touched or (node.is_touched and values):
                yield Row("node", id, {}, node.shared_names, values + node.shared())
            elif node.is_touched and not node.is_removed:
                yield Row("node", id, {}, node.shared_names[len(node.names) :], node.shared())
            elif values:
                yield Row("node", id, {}, node.names, values)

    def _job_row(self, job: Job, is_new: bool) -> Row:
        attributes, metrics = job.attributes(is_new), job.metrics(is_new)
        self._attributes[("job", job.id)] = self._attributes.get(("job", job.id), {}) | attributes
        return Row("job", job.id, attributes, tuple(metrics), list(metrics.values()))

    def _digest(self, what: str) -> str:
        """Short name of what decides the events, so that those of another run have other ids."""
        text = f"{self.scenario.model_dump_json()}|{self.step_ms}|{what}"
        return blake2b(text.encode(), digest_size=4).hexdigest()


def first_fit(simulation: Simulation) -> dict[str, str]:
    """Places each pending job, in the order of the queue, on the first node that it fits on."""
    placements: dict[str, str] = {}
    if not simulation.queue.pending:
        return placements
    free = simulation.free()
    for job in simulation.queue.pending[:MAX_PLACED]:
        for id, left in free.items():
            if _fits(job.needs, left):
                placements[job.id] = id
                free[id] = [have - need for need, have in zip(job.needs, left, strict=True)]
                break
    return placements


def _fits(needs: Sequence[float], free: Sequence[float]) -> bool:
    return needs[0] <= free[0] and needs[1] <= free[1] and needs[2] <= free[2]
