"""Jobs: they arrive, wait, run on a node, and end; or come back when the node fails."""

from bisect import insort
from collections.abc import Iterator
from heapq import heappop, heappush
from random import Random
from typing import Any

from streams.domain.times import moment_text
from streams.vte.scenario import Arrivals, Jobs, Task
from streams.vte.values import dump_json

MIB = 2.0**20
"""[B] Unit of `required_memory`."""

PENDING, RUNNING, DONE, FAILED = "pending", "running", "done", "failed"
"""Statuses of a job."""

PHASES = {PENDING: "Pending", RUNNING: "Running", DONE: "Succeeded", FAILED: "Failed"}
"""Statuses of its pods, in the words of Kubernetes."""

Needs = tuple[float, float, float]
"""Processors, memory [B] and GPUs."""


class Job:
    """A job on its way from pending to done."""

    def __init__(self, task: Task, arrived_ms: int) -> None:
        needs = task.requirements
        self.id, self.task, self.arrived_ms = task.id, task, arrived_ms
        self.needs: Needs = (needs.required_cpu, needs.required_memory * MIB, float(needs.required_gpu))
        self.duration_ms = max(1, task.duration)
        self.status, self.node = PENDING, ""
        self.started_ms = self.ends_ms = self.ended_ms = self.restarts = 0

    @property
    def order(self) -> tuple[int, int, str]:
        """Place in the queue: priority, then arrival."""
        return (-self.task.priority, self.arrived_ms, self.id)

    def start(self, node: str, now_ms: int) -> None:
        """Begin to run."""
        self.status, self.node = RUNNING, node
        self.started_ms, self.ends_ms = now_ms, now_ms + self.duration_ms

    def finish(self, now_ms: int) -> None:
        """End well."""
        self.status, self.ended_ms = DONE, now_ms

    def lose(self, now_ms: int) -> None:
        """Lose the node: wait again, or fail after too many restarts."""
        self.restarts += 1
        self.node = ""
        most = self.task.max_restarts
        self.status = FAILED if most is not None and self.restarts > most else PENDING
        self.ended_ms = now_ms

    def attributes(self, is_new: bool) -> dict[str, str]:
        """What changed of the attributes, or all of them; an empty text removes one."""
        found = {"status": self.status, "node": self.node, "pods": dump_json(self._pods())}
        if is_new:
            found["priority"] = str(self.task.priority)
            found["submitted_ms"] = str(self.arrived_ms)
            found["duration_s"] = f"{self.duration_ms / 1_000:g}"
            if self.task.profile:
                found["profile"] = dump_json(self.task.profile)
            if not self.node:
                del found["node"]
        return found

    def metrics(self, is_new: bool) -> dict[str, float]:
        """What changed of the metrics, or all of them."""
        found = {"job_restarts": float(self.restarts), "job_pods_active": float(self.status == RUNNING)}
        if self.status == RUNNING:
            found["job_start_time_seconds"] = self.started_ms / 1_000
        if is_new:
            found["job_cpu_request"], found["job_mem_request_bytes"], found["job_gpu_request"] = self.needs
        return found

    def _pods(self) -> list[dict[str, Any]]:
        state: dict[str, Any] = {
            "scheduled": bool(self.node),
            "restarts": self.restarts,
            "status": PHASES[self.status],
            "namespace": self.task.namespace,
            "job_id": self.id,
        }
        if self.node:
            state |= {
                "node_id": self.node,
                "nodename": self.node,
                "running_since": moment_text(self.started_ms),
            }
        pods = self.task.pods or [{}]
        return [
            {"id": f"{self.id}-{number}", "name": f"{self.id}-{number}", **state, **pod}
            for number, pod in enumerate(pods)
        ]


class JobQueue:
    """All jobs of a simulation: to come, waiting, running, and those that ended and are still shown."""

    def __init__(self, jobs: Jobs, seed: int, start_ms: int) -> None:
        self._keep_ms = jobs.keep
        self._coming: list[tuple[int, int, str, Task]] = []
        self._streams: dict[str, Iterator[tuple[int, Task]]] = {}
        self._number = 0
        for task in jobs.tasks:
            self._expect(start_ms + task.arrives, "", task)
        for arrivals in jobs.arrivals:
            self._streams[arrivals.name] = _arrive(arrivals, seed, start_ms)
            self._expect_next(arrivals.name)
        self.jobs: dict[str, Job] = {}
        self.pending: list[Job] = []
        self._ends: list[tuple[int, str]] = []
        self._ended: list[tuple[int, str]] = []

    @property
    def is_over(self) -> bool:
        """No job waits, runs or is still to come."""
        return not self._coming and not self.pending and not self.running

    @property
    def running(self) -> int:
        """How many jobs run."""
        return len(self.jobs) - len(self.pending) - len(self._ended)

    def arrive(self, until_ms: int) -> list[Job]:
        """Jobs that arrive up to a time; they wait from then on."""
        found = []
        while self._coming and self._coming[0][0] <= until_ms:
            at_ms, _, stream, task = heappop(self._coming)
            if stream:
                self._expect_next(stream)
            if task.id in self.jobs:
                continue  # made up under the name of one that is there
            job = self.jobs[task.id] = Job(task, at_ms)
            insort(self.pending, job, key=_order)
            found.append(job)
        return found

    def start(self, job: Job, node: str, now_ms: int) -> None:
        """A pending job begins to run on a node."""
        self.pending.remove(job)
        job.start(node, now_ms)
        heappush(self._ends, (job.ends_ms, job.id))

    def finish(self, until_ms: int) -> list[Job]:
        """Jobs that end up to a time."""
        found = []
        while self._ends and self._ends[0][0] <= until_ms:
            ends_ms, id = heappop(self._ends)
            job = self.jobs.get(id)
            # One that lost its node meanwhile ends at another time.
            if job is not None and job.status == RUNNING and job.ends_ms == ends_ms:
                job.finish(ends_ms)
                self._ended.append((until_ms, id))
                found.append(job)
        return found

    def lose(self, id: str, now_ms: int) -> Job:
        """A running job loses its node."""
        job = self.jobs[id]
        job.lose(now_ms)
        if job.status == PENDING:
            insort(self.pending, job, key=_order)
        else:
            self._ended.append((now_ms, id))
        return job

    def forget(self, now_ms: int) -> list[str]:
        """Ids of jobs that ended so long ago that the world need not show them any more."""
        forgotten = 0
        while forgotten < len(self._ended) and self._ended[forgotten][0] + self._keep_ms <= now_ms:
            forgotten += 1
        ids = [id for _, id in self._ended[:forgotten]]
        del self._ended[:forgotten]
        for id in ids:
            del self.jobs[id]
        return ids

    def _expect_next(self, stream: str) -> None:
        found = next(self._streams[stream], None)
        if found is not None:
            self._expect(found[0], stream, found[1])

    def _expect(self, at_ms: int, stream: str, task: Task) -> None:
        self._number += 1
        heappush(self._coming, (at_ms, self._number, stream, task))


def _order(job: Job) -> tuple[int, int, str]:
    return job.order


def _arrive(arrivals: Arrivals, seed: int, start_ms: int) -> Iterator[tuple[int, Task]]:
    """Jobs that are made up, with their times."""
    random = Random(f"{seed}/arrivals/{arrivals.name}")
    at_ms = float(arrivals.begin)
    number = 0
    while arrivals.limit is None or number < arrivals.limit:
        if arrivals.pattern == "poisson":
            at_ms += random.expovariate(1.0 / arrivals.every)
        elif number:
            at_ms += arrivals.every
        if arrivals.until is not None and at_ms > arrivals.until:
            return
        number += 1
        needs = arrivals.requirements
        task = Task.model_validate(
            {
                "id": f"{arrivals.name}-{number}",
                "requirements": {
                    "required_cpu": needs.required_cpu.draw(random),
                    "required_memory": needs.required_memory.draw(random),
                    "required_gpu": round(needs.required_gpu.draw(random)),
                },
                "duration": arrivals.duration.draw(random),
                "priority": arrivals.priority,
                "max_restarts": arrivals.max_restarts,
            }
        )
        yield start_ms + round(at_ms), task
