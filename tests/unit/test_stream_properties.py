"""Whatever changes, disconnects and lags: who follows a stream has what the replica has."""

import json
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import streams.replica.holdings
import streams.web.stream.hub
from streams.domain.keys import entity_key, partition_of
from streams.domain.where import parse_where
from streams.replica.place import Place, Progress
from streams.replica.view import WorldView
from streams.replica.worlds import Worlds
from streams.schemas import load_codec
from streams.web.encoded import EncodedStates
from streams.web.filters import Filter, make_filter
from streams.web.rows import row_of
from streams.web.stream.client import Client
from streams.web.stream.hub import Feed, Hub
from streams.web.stream.shape import Chunk, Shape
from tests.factories import make_state

PARTITIONS = 3
WORLDS = ("live", "live~what-if")
WORLD = st.sampled_from(WORLDS)
KIND = st.sampled_from(["node", "node", "device"])
IDS = st.sampled_from(["a", "b", "é/1"])
STATUSES = ("up", "down", "removed", "removed")
CHANGES = st.lists(st.tuples(WORLD, KIND, IDS, st.sampled_from(STATUSES)), max_size=4)
BURST = st.lists(st.tuples(WORLD, KIND, IDS, st.sampled_from(STATUSES)), min_size=4, max_size=10)
RARELY = st.integers(0, 5).map(lambda number: number == 5)
FILTERS: tuple[dict[str, Any], ...] = (
    {"where": "status=up"},
    {},
    {"q": "DOWN", "ids": ["a", "é/1"]},
    {"kinds": ["node"], "seen": ("n*",)},
)


@dataclass
class Record:
    key: bytes
    value: bytes | None
    partition: int
    offset: int
    timestamp: int


class Process:
    """A web role: what it read of the log, and its streams."""

    def __init__(self, world: str) -> None:
        self.worlds = Worlds(WORLDS)
        self.progress = Progress("state")
        self.positions = dict.fromkeys(range(PARTITIONS), 0)
        self.next = 0  # place in the log of all partitions
        self.ticking: Coroutine[Any, Any, None] | None = None
        self.holdings = self.worlds.named(world)
        self.view = WorldView(self.holdings, dict)
        feed = Feed(
            place=lambda: self.progress.place(self.positions),
            is_known=self.progress.is_known,
            is_whole=lambda: True,
            fault=lambda: None,
            pause_s=lambda: 0.0,
            states=EncodedStates(),
            rows=EncodedStates(row_of),
        )
        self.feed = feed
        self.hub = Hub(self.holdings, feed)

    def read(self, record: Record) -> None:
        self.progress.take(record.partition, [record])
        self.worlds.apply(record.key, record.value, record.partition, record.offset)
        self.positions[record.partition] = record.offset + 1

    def step(self) -> None:
        """Go on with a tick, up to where it gives others the event loop."""
        if self.ticking is None:
            self.ticking = self.hub.tick()
        try:
            self.ticking.send(None)
        except StopIteration:
            self.ticking = None

    def tick(self) -> None:
        while self.ticking is not None:
            self.step()
        self.step()
        while self.ticking is not None:
            self.step()


@dataclass
class Model:
    """Somebody who follows: what they have by what they were told."""

    wanted: Filter
    shape: Shape
    offsets: dict[tuple[str, str, str, int], int]  # of each version
    is_overlay: bool
    client: Client | None = None
    process: Process | None = None
    id: str = ""
    has: dict[tuple[str, str], Any] = field(default_factory=dict)
    told: dict[tuple[str, str], int] = field(default_factory=dict)
    work: Iterator[Chunk] | None = None
    is_live: bool = False

    def connect(self, process: Process) -> None:
        self.process = process
        place = Place.read(self.id) if self.id else None
        self.client = process.hub.join(self.wanted, self.shape, place)
        self.work, self.is_live = None, False

    def disconnect(self) -> None:
        if self.client is not None and self.process is not None:
            self.process.hub.leave(self.client)
        self.client = None

    def take(self) -> bool:
        """Take one message, if there is one."""
        if self.client is None:
            return False
        if self.work is None:
            self.work = self.client.work()
        chunk = next(self.work, None) if self.work is not None else None
        if chunk is None:
            was_working, self.work = self.work is not None, None
            return was_working
        self.note(**json.loads(chunk[0]))
        return True

    def note(self, event: str, id: str, data: Any) -> None:
        if event == "snapshot":
            self.has, self.told = {}, {}
        elif event == "live":
            self.is_live = True
        elif event == "gone":
            for gone in data if self.shape.is_row else [data]:
                self.has.pop((gone["kind"], gone["id"]), None)
        elif event in ("entity", "rows"):
            for entity in data if event == "rows" else [data]:
                self.put(entity)
        self.id = id

    def put(self, entity: dict[str, Any]) -> None:
        key = entity["kind"], entity["id"]
        assert self.wanted.may_be(*key), "told of what was not wanted"
        self.has[key] = entity
        if self.is_overlay:
            return  # what an overlay lets go of shows an older record of live
        offset = self.offsets[entity["world"], *key, entity["version"]]
        assert offset > self.told.get(key, -1), "an entity was told of twice, or an older one after a newer"
        self.told[key] = offset


class Streams(RuleBasedStateMachine):
    """Records, removals, lost logs, lagging processes, ticks in pieces, clients that come and go."""

    world = "live"

    def __init__(self) -> None:
        super().__init__()
        self.patches = [
            mock.patch.object(streams.replica.holdings, "REMEMBERED_REMOVALS", 4),
            mock.patch.object(streams.web.stream.hub, "SLICE_S", -1.0),
        ]
        for patch in self.patches:
            patch.start()
        self.log: list[Record] = []
        self.ends = dict.fromkeys(range(PARTITIONS), 0)
        self.version = 0
        self.now_ms = 1_000
        self.offsets: dict[tuple[str, str, str, int], int] = {}
        self.processes = [Process(self.world), Process(self.world)]
        self.models: list[Model] = []

    def teardown(self) -> None:
        try:
            self.settle()
        finally:
            for patch in self.patches:
                patch.stop()

    @initialize()
    def begin(self) -> None:
        self.follow(0, {}, is_row=False)

    def append(self, key: bytes, value: bytes | None) -> int:
        partition = partition_of(key.decode(), PARTITIONS)
        offset = self.ends[partition]
        self.ends[partition] += 1
        self.now_ms += 1
        self.log.append(Record(key, value, partition, offset, self.now_ms))
        return offset

    def write(self, world: str, kind: str, id: str, status: str) -> None:
        self.version += 1
        state = make_state(world=world, kind=kind, id=id, status=status, version=self.version, epoch=1)
        offset = self.append(entity_key(world, kind, id).encode(), load_codec("state").encode(state))
        self.offsets[world, kind, id, self.version] = offset

    @rule(changes=CHANGES, lags=st.tuples(st.booleans(), st.booleans()))
    def change(self, changes: list[tuple[str, str, str, str]], lags: tuple[bool, bool]) -> None:
        self.append_all(changes)
        for process, lag in enumerate(lags):
            if not lag:
                self.read(process, len(self.log))

    def append_all(self, changes: list[tuple[str, str, str, str]]) -> None:
        for world, kind, id, status in changes:
            if status == "removed":
                self.append(entity_key(world, kind, id).encode(), None)
            else:
                self.write(world, kind, id, status)

    @rule(process=st.integers(0, 1), count=st.integers(1, 3))
    def read(self, process: int, count: int) -> None:
        one = self.processes[process]
        for record in self.log[one.next : one.next + count]:
            one.read(record)
        one.next = min(len(self.log), one.next + count)

    @rule(process=st.integers(0, 1), count=st.integers(1, 4))
    def step(self, process: int, count: int) -> None:
        for _ in range(count):
            self.processes[process].step()

    @rule(process=st.integers(0, 1), then=st.booleans())
    def tick(self, process: int, then: bool) -> None:
        self.processes[process].tick()
        for model in self.models:
            if then and model.process is self.processes[process] and model.client is not None:
                while model.take():
                    pass
                if model.is_live:
                    self.check(model)

    @precondition(lambda self: len(self.models) < 4)
    @rule(process=st.integers(0, 1), wanted=st.sampled_from(FILTERS), is_row=st.booleans())
    def follow(self, process: int, wanted: dict[str, Any], is_row: bool) -> None:
        filter = make_filter(**({"kinds": [], "ids": [], "where": ""} | wanted))
        model = Model(filter, Shape(is_row, (), True), self.offsets, self.world != "live")
        model.connect(self.processes[process])
        self.models.append(model)

    @rule(data=st.data(), count=st.integers(1, 5))
    def take(self, data: st.DataObject, count: int) -> None:
        model = data.draw(st.sampled_from(self.models))
        for _ in range(count):
            model.take()

    @rule(data=st.data())
    def disconnect(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.models)).disconnect()

    @rule(
        data=st.data(),
        count=st.integers(1, 3),
        changes=BURST,
        later=CHANGES,
        process=st.integers(0, 1),
        is_fresh=st.booleans(),
    )
    def come_back(
        self,
        data: st.DataObject,
        count: int,
        changes: list[tuple[str, str, str, str]],
        later: list[tuple[str, str, str, str]],
        process: int,
        is_fresh: bool,
    ) -> None:
        """Somebody who is up to date goes after some messages of what changed, and comes back, perhaps to a
        process that began anew since."""
        model = data.draw(st.sampled_from(self.models))
        if model.client is None:
            model.connect(self.processes[process])
        for batch in ([], changes):
            self.append_all(batch)
            assert model.process is not None
            self.read(self.processes.index(model.process), len(self.log))
            model.process.tick()
            for _ in range(count if batch else 100):
                model.take()
        model.disconnect()
        self.append_all(later)
        if is_fresh:
            self.restart(process)
        self.catch_up(self.processes[process], Place.read(model.id))
        model.connect(self.processes[process])

    def catch_up(self, process: Process, place: Place | None) -> None:
        """A process reads on until it has what another one told."""
        while place is not None and process.next < len(self.log) and place.is_beyond(process.feed.place()):
            process.read(self.log[process.next])
            process.next += 1

    def restart(self, process: int) -> None:
        """A process begins anew, from a log that was compacted."""
        for model in self.models:
            if model.process is self.processes[process]:
                model.disconnect()
        fresh = self.processes[process] = Process(self.world)
        newest = {record.key: record for record in self.log}
        for record in self.log:
            if newest[record.key] is record:
                fresh.read(record)
        fresh.positions |= self.ends
        fresh.next = len(self.log)

    @rule(is_due=RARELY, others=st.integers(0, 40))
    def make_topic_anew(self, is_due: bool, others: int) -> None:
        """Another topic of the same name; who reads it is told so, partition by partition."""
        if not is_due:
            return
        self.log = []
        self.ends = dict.fromkeys(range(PARTITIONS), 0)
        for process in self.processes:
            process.next = 0
            for partition in range(PARTITIONS):
                process.progress.forget(partition)
                process.worlds.forget_partition(partition)
                process.positions[partition] = 0
        for number in range(others):
            self.append(f"training{number}/node/a".encode(), b"")

    def settle(self) -> None:
        """All is read and taken: then all have the same."""
        for process in self.processes:
            for record in self.log[process.next :]:
                process.read(record)
            process.next = len(self.log)
        for model in self.models:
            if model.client is None:
                model.connect(self.processes[0])
        for _ in range(4):
            for process in self.processes:
                process.tick()
            for model in self.models:
                while model.take():
                    pass
        for model in self.models:
            self.check(model)

    def check(self, model: Model) -> None:
        assert model.process is not None
        terms = parse_where(model.wanted.where)
        expected = {
            (entity["kind"], entity["id"]): entity["version"]
            for entity in model.process.view.entities()
            if model.wanted.may_be(entity["kind"], entity["id"])
            and terms.matches(entity)
            and (not model.wanted.q or "down" in entity["status"])
        }
        assert {key: entity["version"] for key, entity in model.has.items()} == expected
        assert model.is_live


class OverlayStreams(Streams):
    """The same of an overlay."""

    world = "live~what-if"


TestStreams = Streams.TestCase
TestOverlayStreams = OverlayStreams.TestCase
TestStreams.settings = TestOverlayStreams.settings = settings(max_examples=100, stateful_step_count=40)
