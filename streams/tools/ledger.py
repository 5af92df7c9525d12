"""`twin ledger`: counts the samples in the log of observations and compares them with the records."""

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import click
from aiokafka import ConsumerRecord

from streams.domain.audit import Fault, PartitionAudit, Row, read_checkpoint
from streams.domain.ledger import LEDGER_KIND
from streams.domain.observation import check_observation
from streams.errors import InvalidMessageError, TwinError
from streams.records import State
from streams.schemas import load_codec
from streams.settings import Settings
from streams.tools.ledger_report import Report, print_report
from streams.tools.scan import TopicScan
from streams.topics import check_topics, topics_of

LOOK_AGAIN_S = 0.5
"""[s] Between looks at a twin whose batch was only half written when it was read."""


@dataclass
class Books:
    """The records of one partition: entities by key, and the ledger record."""

    states: dict[str, State] = field(default_factory=dict)
    ledger: State | None = None


class LedgerCount:
    """One count: its consumers, books and audits. Use it as `async with LedgerCount(...) as count`."""

    def __init__(self, settings: Settings, checkpoint: Path | None = None) -> None:
        self._settings = settings
        self._partitions = range(settings.partitions)
        topics = topics_of(settings)
        self._state = TopicScan(settings, topics["state"])
        # The group of the worker, for its commits: below them every message is in the records.
        self._log = TopicScan(settings, topics["observation"], group=f"{settings.topic_prefix}-worker")
        self._books = {number: Books() for number in self._partitions}
        self._checkpoint = checkpoint
        self._audits = _open_audits(self._partitions, checkpoint)
        self._undecodable = 0
        self._stack = AsyncExitStack()
        self.truncated: dict[int, int] = {}
        self._baseline = False

    async def __aenter__(self) -> "LedgerCount":
        await self._stack.enter_async_context(self._state)
        await self._stack.enter_async_context(self._log)
        begins = await self._log.begins()
        self.truncated = {
            number: begin for number, begin in begins.items() if begin > self._audits[number].position
        }
        if not self.truncated:
            self._log.seek({number: audit.position for number, audit in self._audits.items()})
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.aclose()

    async def begin_from_records(self) -> None:
        """Trust the records as they are now, as the log does not reach back to the beginning."""
        done = await self._log.committed()
        await self._state.read(self._take_state)
        for number, audit in self._audits.items():
            audit.begin_from(self._books[number].states, self._books[number].ledger, done[number])
        self._baseline = True
        self.truncated = {}

    async def look(self) -> Report:
        """Read what came since the last look, and compare."""
        # In this order: what is committed is in the state that is read after it, and what that state has
        # taken is in the log that is read after it.
        done = await self._log.committed()
        await self._state.read(self._take_state)
        await self._log.read(self._take_observation)
        rows: list[Row] = []
        faults: list[Fault] = []
        for number, audit in self._audits.items():
            books = self._books[number]
            audit.settle(books.states, books.ledger, done[number])
            rows += audit.rows(books.states, books.ledger)
            faults += audit.faults(books.states, books.ledger)
        return Report(rows, faults, self._undecodable, self._baseline)

    def save(self, path: Path) -> None:
        """Write the count so far, for `--checkpoint` of a later one."""
        partitions = {
            str(number): audit.checkpoint(self._books[number].states)
            for number, audit in self._audits.items()
        }
        document = {"prefix": self._settings.topic_prefix, "partitions": partitions}
        draft = path.with_name(f".{path.name}.draft")
        draft.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
        draft.replace(path)

    def _take_state(self, record: ConsumerRecord) -> None:
        books, key = self._books[record.partition], record.key.decode(errors="replace")
        if not key.startswith("live/"):
            return
        if record.value is None:
            books.states.pop(key, None)
            return
        try:
            state: State = load_codec("state").decode(record.value)
        except InvalidMessageError:
            return  # not a record, so it says nothing: the worker skips it as well
        is_ledger = f"/{LEDGER_KIND}/" in key
        known = books.ledger if is_ledger else books.states.get(key)
        if known and (state["epoch"], state["version"]) < (known["epoch"], known["version"]):
            return
        if is_ledger:
            books.ledger = state
        else:
            books.states[key] = state

    def _take_observation(self, record: ConsumerRecord) -> None:
        audit = self._audits[record.partition]
        try:
            message = load_codec("observation").decode(record.value)
            check_observation(message)
        except InvalidMessageError:
            self._undecodable += 1
            audit.position = record.offset + 1
            return
        audit.read(record.offset, message)


async def count_samples(
    settings: Settings, checkpoint: Path | None = None, save: Path | None = None, wait_s: float = 10.0
) -> Report:
    """Count, looking again for up to `wait_s` [s] while a running worker is in the middle of a batch.

    Raises:
        TwinError: the beginning of the log is gone and there is no checkpoint, or it is no checkpoint.
    """
    await check_topics(settings)
    async with LedgerCount(settings, checkpoint) as count:
        if count.truncated:
            if save is None or checkpoint is not None:
                raise TwinError(_say_truncated(settings, count.truncated, checkpoint))
            await count.begin_from_records()
        deadline = monotonic() + wait_s
        report = await count.look()
        while not report.is_balanced and monotonic() < deadline:
            await asyncio.sleep(LOOK_AGAIN_S)
            report = await count.look()
        if save is not None:
            count.save(save)
        return report


@click.command()
@click.option(
    "--checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Go on from FILE."
)
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Write the count to FILE.")
@click.option("--wait", "wait_s", default=10.0, show_default=True, help="[s] To look again while it differs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def ledger(
    settings: Settings, checkpoint: Path | None, save: Path | None, wait_s: float, as_json: bool
) -> None:
    """Count the samples in the log and compare them with the records.

    Every sample of an observation is applied, duplicate, late, conflict or rejected, exactly once: the
    records keep these counts. This counts the samples by reading the topic `observation`, and fails when
    they differ.

    Kafka keeps observations for a day. To count over longer: `twin ledger --save FILE`, and from then on, at
    least daily, `twin ledger --checkpoint FILE --save FILE`.
    """
    report = asyncio.run(count_samples(settings, checkpoint, save, wait_s))
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
    else:
        print_report(report, save)
    if not report.is_balanced:
        raise SystemExit(1)


def _open_audits(partitions: range, path: Path | None) -> dict[int, PartitionAudit]:
    if path is None:
        return {number: PartitionAudit(number) for number in partitions}
    try:
        checkpoints = read_checkpoint(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise TwinError(f"{path}: cannot be used: {error}") from error
    if set(checkpoints) != set(partitions):
        raise TwinError(
            f"{path}: is of {len(checkpoints)} partitions, TWIN_PARTITIONS says {len(partitions)}"
        )
    return {number: PartitionAudit(number, checkpoints[number]) for number in partitions}


def _say_truncated(settings: Settings, truncated: dict[int, int], checkpoint: Path | None) -> str:
    topic = topics_of(settings)["observation"]
    number, begin = next(iter(sorted(truncated.items())))
    older = (
        f"{checkpoint} ends before that" if checkpoint else "without a checkpoint there is nothing to add to"
    )
    return (
        f"{topic} lost its beginning ({len(truncated)} partitions; {number} begins at offset {begin}),"
        f" and {older}.\nRun `twin ledger --save FILE` once: it takes the records as they are now for the"
        " beginning. Then, at least as often as the topic's retention (a day):"
        " `twin ledger --checkpoint FILE --save FILE`."
    )
