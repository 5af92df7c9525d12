"""`twin tap`: the records of a topic, decoded, as they come."""

import asyncio
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import click
from aiokafka import ConsumerRecord
from rich.console import Console

from streams.deadletters.readable import in_hex, readable, shown_record
from streams.domain.near import near_names
from streams.encoding import encode_json
from streams.errors import InvalidMessageError, TwinError
from streams.reader import TopicReader
from streams.schemas import AvroCodec, load_codec
from streams.settings import Settings
from streams.topics import RECORDS, Topics, topics_of


@dataclass
class Tap:
    """Prints records until `limit` of them were printed."""

    codec: AvroCodec | None
    limit: int | None
    raw: bool
    console: Console | None
    printed: int = 0
    full: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, records: list[ConsumerRecord]) -> None:
        """Print records, one line each; on a terminal over several lines, in colours."""
        for record in records:
            if self.full.is_set():
                return
            document = encode_json(describe(record, self.codec, raw=self.raw)).decode()
            if self.console is not None:
                self.console.print_json(document, ensure_ascii=False)
            else:
                click.echo(document)
            self.printed += 1
            if self.printed == self.limit:
                self.full.set()


@click.command()
@click.argument("topic")
@click.option("--from-start", is_flag=True, help="Begin with the oldest record instead of the next one.")
@click.option("--max", "limit", type=click.IntRange(min=1), help="End after so many records.")
@click.option("--raw", is_flag=True, help="Show keys and values as hexadecimal bytes.")
@click.pass_obj
def tap(settings: Settings, topic: str, from_start: bool, limit: int | None, raw: bool) -> None:
    """Print the records of TOPIC as they come, one JSON line each, until Ctrl-C.

    TOPIC is the name of a record (scrape, event, observation, state, tick, deadletter) or the full name of
    any topic. What cannot be decoded is shown with the reason and its bytes.
    """
    topics = topics_of(settings)
    name = topics[topic] if topic in RECORDS else topic
    with suppress(KeyboardInterrupt):  # how one ends it
        try:
            asyncio.run(_run(settings, topics, name, from_start=from_start, limit=limit, raw=raw))
        except BrokenPipeError:  # `twin tap … | head` has read enough
            sys.stderr.close()


async def _run(
    settings: Settings, topics: Topics, topic: str, *, from_start: bool, limit: int | None, raw: bool
) -> None:
    record = topics.record_of(topic)
    codec = load_codec(record) if record in RECORDS else None
    console = Console(highlight=False, soft_wrap=True) if sys.stdout.isatty() else None
    printer = Tap(codec, limit, raw, console)
    reader = TopicReader(settings, topic, printer.take, lambda _partition: None, from_start=from_start)
    try:
        await reader.start()
    except TwinError as error:
        near = [] if record in RECORDS else near_names(topic, RECORDS)
        if near:
            raise TwinError(f"{error}; did you mean {', '.join(near)}?") from error
        raise
    try:
        if reader.task is not None:
            full = asyncio.create_task(printer.full.wait())
            await asyncio.wait({full, reader.task}, return_when=asyncio.FIRST_COMPLETED)
            full.cancel()
    finally:
        await reader.stop()


def describe(record: ConsumerRecord, codec: AvroCodec | None, *, raw: bool) -> dict[str, Any]:
    """A record for people: where it stands, when it came, and its value or why there is none to read."""
    about: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "at_ms": record.timestamp,
    }
    if raw:
        return about | {"key": _hex(record.key), "value": _hex(record.value)}
    about["key"] = readable(record.key)
    if record.value is None:
        return about | {"value": None}
    if codec is None:
        return about | {"value": readable(record.value)}
    try:
        return about | {"value": shown_record(codec.decode(record.value))}
    except InvalidMessageError as error:
        return about | {"undecodable": error.reason, "error": str(error)} | in_hex(record.value)


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data.hex()
