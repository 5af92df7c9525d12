"""How far a consumer is in one partition, and whether it has caught up."""

EMPTY_ANSWERS = 3
"""[1] Answers in a row without a record, after which nothing lies between the position and the end: the first
may have been on its way before the position last moved."""

SMALL_ANSWER_BYTES = 262_144
"""[B] An answer below this had room for more, so a partition that is empty in it has nothing to give. While
others are loaded answers are full, and on the embedded broker a full one leaves partitions out."""


class Cursor:
    """Position in a partition against the end that it had when reading began.

    Neither the last record seen nor the position alone tells that a consumer has caught up: on a compacted
    topic the records before the end may be gone, and then the position rests below the end for ever, each
    answer being empty. On the embedded broker the end that is named is the base of the newest batch + 1; the
    high watermark of the first answer is right.
    """

    def __init__(self, position: int, end: int) -> None:
        self.position = position
        self.end = end
        self.highwater: int | None = None
        self.answered_ms: int | None = None
        self._empty_answers = 0
        self._taken_bytes = 0
        self._caught_up = False

    @property
    def caught_up(self) -> bool:
        """True from the moment on at which everything up to that end was read."""
        return self._caught_up

    @property
    def lag(self) -> int:
        """[1] Offsets between the position and the newest known end."""
        return max(0, (self.highwater if self.highwater is not None else self.end) - self.position)

    def observe(
        self, position: int, highwater: int | None, answered_ms: int | None, taken_bytes: int
    ) -> None:
        """Note what the consumer says after a poll whose records have been applied.

        Args:
            position: next offset to be read.
            highwater: end offset in the newest answer; None before the first one.
            answered_ms: [ms] when that answer came; None before the first one.
            taken_bytes: [B] what came so far from all partitions.
        """
        if highwater is not None and self.highwater is None:
            self.end = max(self.end, highwater)
        if position != self.position:
            self._empty_answers = 0
        elif answered_ms is not None and answered_ms != self.answered_ms:
            # A second fetch waits until the records of the first are consumed, and that moves the position.
            is_small = taken_bytes - self._taken_bytes < SMALL_ANSWER_BYTES
            self._empty_answers = self._empty_answers + 1 if is_small else 0
        if answered_ms != self.answered_ms:
            self._taken_bytes = taken_bytes
        self.position, self.highwater, self.answered_ms = position, highwater, answered_ms
        self._caught_up = self._caught_up or position >= self.end or self._empty_answers >= EMPTY_ANSWERS
