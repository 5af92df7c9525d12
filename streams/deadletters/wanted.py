"""Which dead letters are wanted."""

from dataclasses import dataclass

from streams.deadletters.letter import Letter
from streams.topics import RECORDS, Topics

SLACK_MS = 600_000
"""[ms] By which the clocks of those who write letters may differ: a partition is not in order of time."""


@dataclass(frozen=True)
class Wanted:
    """A filter; what is empty or None lets all through.

    Args:
        stage: that refused it.
        reason: short name of the reason.
        topic: that it came from: a record's name, such as scrape, or a full name.
        since_ms: [ms since the epoch] refused then or later.
        until_ms: [ms since the epoch] refused before.
        text: contained in error, reason, key or bytes, whatever the case of its letters.
    """

    stage: str = ""
    reason: str = ""
    topic: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    text: str = ""

    def is_all(self) -> bool:
        """Whether nothing is filtered."""
        return self == Wanted()

    def matches(self, letter: Letter, topics: Topics) -> bool:
        """Whether a letter, with its bytes, is wanted."""
        topic = topics[self.topic] if self.topic in RECORDS else self.topic
        return (
            (not self.stage or letter.stage == self.stage)
            and (not self.reason or letter.reason == self.reason)
            and (not topic or letter.topic == topic)
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
            and (self.until_ms is None or letter.at_ms < self.until_ms)
            and self._has_text(letter)
        )

    def is_before(self, letter: Letter) -> bool:
        """Whether nothing that stands before this letter can be wanted."""
        return self.since_ms is not None and letter.at_ms < self.since_ms - SLACK_MS

    def _has_text(self, letter: Letter) -> bool:
        text = self.text.casefold()
        if not text or text in letter.error.casefold() or text in letter.reason.casefold():
            return True
        data = text.encode()
        return data in letter.key.lower() or data in letter.value.lower()
