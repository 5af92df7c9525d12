"""Follows what one subscription wants, and delivers it."""

import asyncio
import random
import time
from contextlib import aclosing
from uuid import uuid4

import aiohttp
import structlog
from prometheus_client import Counter
from yarl import URL

from streams.replica.place import Place
from streams.web.access.access import Access
from streams.web.access.principal import Principal
from streams.web.filters import make_filter
from streams.web.hooks.batch import Batch
from streams.web.hooks.delivery import Outcome, backoff_s, send
from streams.web.hooks.hosts import SETTING, HostList
from streams.web.hooks.models import Subscription
from streams.web.hooks.owner import current
from streams.web.live import LiveTwin
from streams.web.problems import ProblemError
from streams.web.stream.client import Client
from streams.web.stream.desk import StreamDesk
from streams.web.stream.shape import Shape

PACE_S = 1.0
"""[s] Between attempts at least."""

LINGER_S = 0.05
"""[s] For what comes with a change."""

LOOK_S = 1.0
"""[s] Between looks whether the state is whole, or there is room for one more who follows."""

ATTEMPTS = Counter("twin_web_webhook_attempts", "Deliveries to webhooks that were tried", ["outcome"])

log = structlog.get_logger(__name__)


class Runner:
    """Delivers, until the subscription is disabled or this is cancelled.

    Nothing is read ahead but one message: what changes while a receiver is away stays with those who tell
    it, the newest of each entity. `pending` is [1] the changes under way, `next_try_ms` when they are tried.
    """

    def __init__(
        self, subscription: Subscription, access: Access, twin: LiveTwin, streams: StreamDesk
    ) -> None:
        self.subscription = subscription
        self.pending = 0
        self.next_try_ms: int | None = None
        self._access = access
        self._hosts = HostList(access.config.webhook_hosts)
        self._twin = twin
        self._streams = streams
        self._next_s = 0.0
        self._ahead: bytes | None = None
        self._log = log.bind(subscription=subscription.id, host=URL(subscription.url).host)

    async def run(self) -> None:
        """Deliver."""
        progress = self.subscription.progress
        async with self._hosts.open_session(URL(self.subscription.url).raw_host or "") as session:
            while progress.disabled is None:
                await self._follow(session)
        self._log.warning("a subscription is disabled", reason=progress.disabled)

    async def _follow(self, session: aiohttp.ClientSession) -> None:
        while self._twin.why_no_state() is not None:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(LOOK_S)
        who = self._owner()
        if who is None:
            return
        wanted = self.subscription.wanted
        try:
            view = self._twin.view_of(wanted.world, "world", who)
            self._streams.check_room()
        except ProblemError as error:
            if error.status == 404:
                self.subscription.progress.disabled = f"world-ended: {error}"
            else:
                await asyncio.sleep(LOOK_S)
            return
        joining = self._streams.joined(
            view,
            make_filter(wanted.kind, wanted.id, wanted.where, wanted.q, who.kinds),
            Shape(fields=tuple(wanted.fields), is_socket=True),
            1 / PACE_S,
            Place.read(self.subscription.progress.position),
        )
        self._ahead = None
        with joining as client:
            await self._deliver_all(client, session)
        if client.ending is not None and client.ending.reason == "world-ended":
            self.subscription.progress.disabled = f"world-ended: {client.ending.detail}"
        else:
            await asyncio.sleep(LOOK_S)

    async def _deliver_all(self, client: Client, session: aiohttp.ClientSession) -> None:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        pump = asyncio.create_task(_pump(client, queue), name="what a webhook is told")
        try:
            while self.subscription.progress.disabled is None:
                batch = await self._gather(queue)
                if batch is None:
                    return
                await self._deliver(batch, session)
        finally:
            pump.cancel()
            self.pending, self.next_try_ms = 0, None

    async def _gather(self, queue: asyncio.Queue[bytes | None]) -> Batch | None:
        """What may be sent together, when the next delivery may be; None at the end."""
        batch = Batch(self.subscription.wanted.events)
        message = self._ahead or await queue.get()
        self._ahead = None
        loop = asyncio.get_running_loop()
        until_s: float | None = None
        while message is not None:
            if not batch.fits(message):
                self._ahead = message
                return batch
            batch.take(message)
            if not batch.is_news:
                self.subscription.progress.position = batch.position
            elif until_s is None:
                until_s = max(self._next_s, loop.time() + LINGER_S)
            try:
                async with asyncio.timeout_at(until_s):
                    message = await queue.get()
            except TimeoutError:
                return batch
        if not batch.is_news:
            return None
        queue.put_nowait(None)  # what was told last goes out first
        return batch

    async def _deliver(self, batch: Batch, session: aiohttp.ClientSession) -> None:
        """Send until it is taken, or the subscription is disabled."""
        one, progress = self.subscription, self.subscription.progress
        # Grows over restarts, too, also when the last of it was not kept.
        progress.sequence = max(progress.sequence + 1, _now_ms())
        body = batch.body(one.id, one.wanted.world, progress.sequence)
        number = uuid4().hex
        self.pending = len(batch)
        wait_s = self._next_s - asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(wait_s)
            if self._owner() is None:
                return
            self._next_s = asyncio.get_running_loop().time() + PACE_S
            outcome = await self._attempt(session, number, body)
            self._note(outcome)
            if outcome.error is None:
                progress.position = batch.position
                self.pending, self.next_try_ms = 0, None
                return
            if progress.disabled is not None:
                return
            wait_s = backoff_s(progress.failures, random.random())
            self.next_try_ms = _now_ms() + round(wait_s * 1000)

    async def _attempt(self, session: aiohttp.ClientSession, number: str, body: bytes) -> Outcome:
        one = self.subscription
        if not self._hosts.may_send_to(URL(one.url).raw_host or ""):
            return Outcome(None, f"{SETTING} does not allow its host")
        return await send(session, one.url, one.secret.get_secret_value(), number, body, int(time.time()))

    def _note(self, outcome: Outcome) -> None:
        progress = self.subscription.progress
        had_failed = progress.failures > 0
        progress.note(outcome, _now_ms())
        ATTEMPTS.labels("failed" if outcome.error else "delivered").inc()
        if outcome.error is not None and not had_failed:
            self._log.warning("a webhook does not take what it is sent; tries again", error=outcome.error)
        elif outcome.error is None and had_failed:
            self._log.info("a webhook takes what it is sent again")

    def _owner(self) -> Principal | None:
        """Who subscribed, as they are now; None, and disabled, when they may not any more."""
        who = current(self.subscription.owner, self._access)
        if who is None:
            self.subscription.progress.disabled = "no-access: who subscribed may not read any more"
        return who


async def _pump(client: Client, queue: asyncio.Queue[bytes | None]) -> None:
    async with aclosing(client.chunks()) as chunks:  # type: ignore[type-var]
        async for message, _ in chunks:
            await queue.put(message)
    await queue.put(None)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
