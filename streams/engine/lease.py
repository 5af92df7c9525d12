"""For how long this process may believe that its partitions are its own: while its group waits for it."""

import time
from collections.abc import Awaitable, Callable
from typing import Any


class Lease:
    """Holds for one session time-out from the last heartbeat that Kafka answered.

    A process that was stopped, or cut off, goes on where it was, with a batch in its hands that its successor
    has done long ago. Its next heartbeat says so, but the batch may be faster. So whoever writes asks first.

    Args:
        session_s: [s] session time-out of the group.
    """

    def __init__(self, session_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._session_s = session_s
        self._clock = clock
        self._until = 0.0

    @property
    def holds(self) -> bool:
        """Whether nobody else can have the partitions by now."""
        return self._clock() < self._until

    def renew(self, since: float) -> None:
        """Kafka heard of this process at or after this time of the clock."""
        self._until = max(self._until, since + self._session_s)

    def watch(self, coordinator: Any) -> None:
        """Follow the heartbeats of an aiokafka group coordinator, and its joining."""
        coordinator._do_heartbeat = self._renewed_by(coordinator._do_heartbeat, at_start=True)
        # A join is held until all members have joined; only its end says that this one is known.
        coordinator._do_rejoin_group = self._renewed_by(coordinator._do_rejoin_group, at_start=False)

    def _renewed_by(
        self, ask: Callable[..., Awaitable[bool]], *, at_start: bool
    ) -> Callable[..., Awaitable[bool]]:
        async def asked(*args: Any) -> bool:
            began = self._clock()
            answer = await ask(*args)
            if answer:
                self.renew(began if at_start else self._clock())
            return answer

        return asked
