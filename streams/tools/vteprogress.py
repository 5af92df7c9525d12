"""How far `twin vte run` is."""

import sys
import time
from typing import Any

import click

from streams.domain.times import moment_text
from streams.vte.simulation import Simulation

PROGRESS_S = 0.2
"""[s] Least time between two pictures of the progress line."""


class Progress:
    """The line that says how far a run is; drawn on a terminal only."""

    def __init__(self, simulation: Simulation, steps: int) -> None:
        self._simulation, self._steps = simulation, steps
        self._done = -1  # what makes the world is no step
        self._events = self._finished = self._lost = 0
        self._clock_ms = simulation.now_ms
        self._drawn_s = 0.0

    def count(self, documents: list[dict[str, Any]]) -> None:
        """A step was written or sent."""
        facts = self._simulation.facts
        self._done += 1
        self._clock_ms = self._simulation.now_ms
        self._events += len(documents)
        self._finished += facts.finished
        self._lost += facts.lost
        if sys.stderr.isatty() and (now_s := time.monotonic()) >= self._drawn_s + PROGRESS_S:
            self._drawn_s = now_s
            click.echo(f"\r{self.told()}\x1b[K", nl=False, err=True)

    def end(self) -> None:
        """Take the line away."""
        if sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True)

    def told(self) -> str:
        """How far it is."""
        simulation = self._simulation
        facts = simulation.facts
        jobs = f"{self._finished} jobs done, {facts.running} running, {facts.waiting} waiting"
        return (
            f"world {simulation.world}: step {max(0, self._done)} of {self._steps} "
            f"({simulation.step_ms} ms each), clock {moment_text(self._clock_ms)}, "
            f"{jobs}, {self._lost} lost; {self._events} events"
        )
