"""Which lines of a batch InfluxDB refused: it names some, counts others, and keeps the rest."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from streams.domain.sink import escape_key, escape_measurement
from streams.errors import StoreError
from streams.stores import Refusal
from streams.stores.http import MAX_ERROR
from streams.stores.settling import Places, halves, settle


@dataclass(frozen=True, slots=True)
class Rejected:
    """InfluxDB's answer to a post in which it did not like something."""

    status: int
    message: str

    @property
    def dropped(self) -> int:
        """Lines that were not kept, 0 when it does not say."""
        found = re.search(r"\bdropped=(\d+)", self.message)
        return int(found[1]) if found else 0

    @property
    def reason(self) -> str:
        """Short name of the reason."""
        for text, reason in (
            ("type conflict", "field_type_conflict"),
            ("retention policy", "beyond_retention"),
            ("unable to parse", "line_protocol"),
            ("too large", "too_large"),
        ):
            if text in self.message:
                return reason
        return "partial_write"

    def refusal(self, index: int) -> Refusal:
        """This answer, as the fate of one line."""
        return Refusal(index, self.reason, f"InfluxDB: HTTP {self.status}: {self.message[:MAX_ERROR]}")


Post = Callable[[list[str]], Awaitable[Rejected | None]]
"""Posts lines; None when all were kept. Raises StoreError when it must be tried again later."""


async def post_all(lines: Sequence[str], post: Post) -> list[Refusal]:
    """Post lines until each is either kept or known to be refused.

    What InfluxDB 2.7 does: lines that do not parse are named by their text, and nothing of the post is kept;
    lines with a field of another type, or older than the retention, are counted, and the rest is kept.

    Raises:
        StoreError: see `Post`; or the answer is not about the lines, and they may not be blamed for it.
    """

    def judge(rejected: Rejected, places: Places) -> tuple[list[Refusal], list[Places]]:
        bad, doubtful = _judge(rejected, lines, places)
        return [rejected.refusal(place) for place in bad], doubtful

    return await settle(
        list(range(len(lines))), lambda places: post([lines[place] for place in places]), judge
    )


def _judge(rejected: Rejected, lines: Sequence[str], places: Places) -> tuple[Places, list[Places]]:
    """The lines that are refused for sure, and groups of others that have to be posted again."""
    if rejected.status == 413:
        return (places, []) if len(places) == 1 else ([], halves(places))
    if "partial write" not in rejected.message and "unable to parse" not in rejected.message:
        raise StoreError(
            f"InfluxDB answered HTTP {rejected.status}: {rejected.message[:MAX_ERROR]};"
            f" this is not about the data: look at its log, and at any proxy before it"
        )
    if len(places) == 1 or rejected.dropped == len(places):
        return places, []
    named = [place for place in places if f"unable to parse '{lines[place]}'" in rejected.message]
    if named:
        rest = sorted(set(places) - set(named))
        return named, [rest] if rest else []
    suspects = _suspects(rejected.message, lines, places)
    if 0 < len(suspects) < len(places):
        return [], [suspects, sorted(set(places) - set(suspects))]
    return [], halves(places)


def _suspects(message: str, lines: Sequence[str], places: Places) -> Places:
    found = re.search(r'input field "(.+?)" on measurement "(.+?)" is ', message, re.DOTALL)
    if not found:
        return []
    field, measurement = escape_key(found[1]), escape_measurement(found[2])
    return [
        place
        for place in places
        if lines[place].startswith((f"{measurement},", f"{measurement} "))
        and (f" {field}=" in lines[place] or f",{field}=" in lines[place])
    ]
