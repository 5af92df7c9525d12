"""A recording: a part of live's log in a file, an Avro object container (docs/history.md, "Replay").

Its records are those of the topic `observation`, in order of time, each with the partition that it came from
as `lane`; what is needed to play them stands in the file's metadata under `twin.recording`, as JSON.
Format: https://avro.apache.org/docs/1.12.0/specification/#object-container-files
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from fastavro import reader
from fastavro.write import Writer

from streams.errors import TwinError
from streams.records import Observation
from streams.schemas import load_schema

KEY = "twin.recording"
"""Of the metadata."""

CODEC = "deflate"
"""What every reader of Avro has."""

BLOCK_BYTES = 256 * 1024
"""[B] Of a block, before it is compressed."""


@dataclass(frozen=True)
class About:
    """What a recording says of itself.

    Args:
        from_ms: [ms since the epoch] first tick of the range.
        to_ms: [ms since the epoch] last one.
        begin_ms: [ms since the epoch] from when on messages are there, to fill the memory of the alignment.
        step_ms: [ms] distance of ticks.
        remove_after_ms: [ms] as in the settings.
        partitions: [1] of the log.
        ceilings: greatest rate of a counter by metric.
        ticks: [1] ticks that live closed in the range.
        hash: of these.
        release: of the twin that recorded.
    """

    from_ms: int
    to_ms: int
    begin_ms: int
    step_ms: int
    remove_after_ms: int
    partitions: int
    ceilings: dict[str, float] = field(default_factory=dict)
    ticks: int = 0
    hash: str = ""
    release: str = ""


@contextmanager
def written_recording(path: Path, about: About) -> Iterator[Callable[[Observation], None]]:
    """Write a recording: gives a function that takes one message after the other.

    The file has its name once it is whole.

    Raises:
        TwinError: it cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.part")
    try:
        with unfinished.open("wb") as file:
            metadata = {KEY: json.dumps(asdict(about), sort_keys=True)}
            writer = Writer(file, load_schema("observation"), CODEC, BLOCK_BYTES, metadata)
            yield lambda message: writer.write(cast(dict[str, Any], message))
            writer.flush()
        unfinished.replace(path)
    except OSError as error:
        raise TwinError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def opened_recording(path: Path) -> Iterator[tuple[About, Iterator[Observation]]]:
    """What a recording says of itself, and its messages.

    Raises:
        TwinError: it cannot be read, or is no recording.
    """
    try:
        with path.open("rb") as file:
            try:
                messages = reader(file, cast(Any, load_schema("observation")))
                about = About(**json.loads(messages.metadata[KEY]))
            except Exception as error:  # fastavro raises whatever its decoders meet
                raise TwinError(f"{path}: is no recording of `twin record`: {error!r}") from error
            yield about, _each(path, cast(Iterator[Observation], messages))
    except OSError as error:
        raise TwinError(f"{path}: cannot be read: {error.strerror}") from error


def _each(path: Path, messages: Iterator[Observation]) -> Iterator[Observation]:
    place = 0
    while True:
        try:
            message = next(messages)
        except StopIteration:
            return
        except Exception as error:  # as above
            raise TwinError(f"{path}: is damaged after {place} messages: {error!r}") from error
        place += 1
        yield message
