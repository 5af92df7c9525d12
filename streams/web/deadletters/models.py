"""Shapes of the answers about dead letters, and of what is asked."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from streams.web.models import Model

LETTERS_MAX = 200
"""[1] Letters of one request."""

Place = Annotated[str, Field(pattern=r"^\d{1,9}:\d{1,18}$", examples=["3:17"])]
"""A letter's name: partition:offset in the topic `deadletter`."""


class DeadLetter(Model):
    """A message that a stage could not take, without its bytes."""

    partition: int = Field(description="Of the topic `deadletter`")
    offset: int = Field(description="In that partition")
    at_ms: int = Field(description="[ms since the epoch, UTC] When it was refused")
    stage: str = Field(description="Stage that refused it; empty: the record is no dead letter at all")
    reason: str = Field(description="Short name of the reason, the same for all of its kind")
    error: str = Field(description="What is wrong, in words")
    topic: str = Field(description="Topic that it came from")
    origin_partition: int = Field(description="Partition that it came from")
    origin_offset: int = Field(description="Offset that it came from; -1: it never was in Kafka")
    key: str = Field(description="Original key; what is no text is in hexadecimal digits")
    bytes: int = Field(description="[B] Of the original value that is kept")
    cut: bool = Field(description="The original was longer, or may have been")
    redriven: int = Field(description="[1] How often it had been sent again when it was refused")
    refusal: str | None = Field(description="Why it cannot be sent again; null: it can")


class DeadLettersAnswer(Model):
    """Dead letters, the newest first."""

    topic: str
    letters: list[DeadLetter]
    cursor: str | None = Field(description="Where the next page begins; null: there is none")
    scanned: int = Field(description="[1] Letters that were looked at; a page looks at some 5,000 at most")


class DeadLetterAnswer(DeadLetter):
    """A dead letter with its bytes."""

    record: str = Field(description="Record that its topic holds, such as scrape")
    schema_id: int | None = Field(description="In the framing of the bytes; null: they are not framed")
    value_base64: str = Field(description="The original bytes that are kept")
    value_hex: str = Field(description="The first 16 KiB of them for people: offset, bytes, ASCII")
    decoded_as: str | None = Field(description="avro or json; null: they decode as neither")
    decoded: Any = Field(description="What the bytes say; null when they do not decode")
    decode_error: str | None = Field(description="Why they do not decode as the Avro record")


class LettersFilter(BaseModel):
    """Which letters; all that is given must match."""

    model_config = ConfigDict(extra="forbid")

    stage: str = Field("", description="Stage that refused it", examples=["harmonize"], max_length=50)
    reason: str = Field("", description="Short name of the reason", examples=["unknown_pack"], max_length=100)
    topic: str = Field(
        "", description="Record or full topic it came from", examples=["scrape"], max_length=300
    )
    since: str | None = Field(
        None,
        description="Refused then or later: ISO 8601 with a zone, or -30m",
        examples=["-2h"],
        max_length=64,
    )
    until: str | None = Field(
        None,
        description="Refused before then: ISO 8601 with a zone, or -30m",
        examples=["2026-11-24T03:12:00Z"],
        max_length=64,
    )
    text: str = Field(
        "", description="Contained in error, reason, key or bytes, whatever the case", max_length=200
    )


class LettersQuery(LettersFilter):
    """Parameters of GET /deadletters."""

    limit: int = Field(50, ge=1, le=LETTERS_MAX, description="[1] Most letters of the answer")
    cursor: str | None = Field(
        None,
        description="That of the page before: partition:offset of each partition, with commas between",
        pattern=r"^\d{1,9}:\d{1,18}(,\d{1,9}:\d{1,18})*$",
        max_length=30_000,
    )


class Redrive(BaseModel):
    """Which letters are sent again: these, or those that match a filter."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,  # "dry_run": 0 is a mistake that would send
        json_schema_extra={
            "examples": [
                {"letters": ["3:17"], "dry_run": True},
                {"filter": {"stage": "harmonize", "reason": "unknown_pack"}, "cap": 100},
            ]
        },
    )

    letters: list[Place] = Field([], max_length=LETTERS_MAX, description="partition:offset of each")
    filter: LettersFilter | None = Field(None, description="Instead of `letters`: the newest that match")
    cap: int = Field(100, ge=1, le=1_000, description="[1] Most letters of a filter")
    cursor: str | None = Field(
        None,
        description="With a filter: where to go on, from the answer before",
        pattern=r"^\d{1,9}:\d{1,18}(,\d{1,9}:\d{1,18})*$",
        max_length=30_000,
    )
    dry_run: bool = Field(False, description="Only say what would be sent")


class RedrivenLetter(Model):
    """What becomes of one letter."""

    letter: str = Field(description="partition:offset of the letter")
    topic: str | None = Field(description="Where its original goes; null: there is no such letter")
    partition: int | None = Field(description="Partition there")
    bytes: int = Field(description="[B] Of the original")
    redriven: int = Field(description="[1] How often it has been sent again, with this time")
    offset: int | None = Field(description="Where it is now; null: it was not sent, or this is a dry run")
    refusal: str | None = Field(description="Why it is not sent again; null: it is, or would be")


class RedriveAnswer(Model):
    """What was sent again, or would be."""

    dry_run: bool
    sent: int = Field(description="[1] Messages that are in Kafka again; of a dry run: that would be sent")
    refused: int = Field(description="[1] Letters that are not sent, each with its reason")
    letters: list[RedrivenLetter] = Field(description="In order of where they go")
    cursor: str | None = Field(description="With a filter: where to go on; null: these are all")
