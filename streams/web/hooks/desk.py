"""All subscriptions of the process."""

import asyncio
import time
from contextlib import suppress
from secrets import token_hex

import structlog
from prometheus_client import Gauge

from streams.settings import Settings
from streams.web.access.access import Access
from streams.web.access.principal import Principal
from streams.web.hooks.book import Book, content_of
from streams.web.hooks.models import (
    DeliveryState,
    Owner,
    Progress,
    Subscribe,
    Subscription,
    SubscriptionAnswer,
)
from streams.web.hooks.runner import Runner
from streams.web.live import LiveTwin
from streams.web.problems import ProblemError
from streams.web.stream.desk import StreamDesk

MAX_SUBSCRIPTIONS = 100
"""[1] Of one process."""

SAVE_S = 1.0
"""[s] Between writes of what was delivered."""

COUNT = Gauge("twin_web_subscriptions_count", "Subscriptions of this process")

log = structlog.get_logger(__name__)


class HookDesk:
    """Keeps subscriptions and delivers what they want, from `start` to `stop`.

    Raises:
        SettingsError: TWIN_SUBSCRIPTIONS_FILE cannot be used.
    """

    def __init__(self, settings: Settings, access: Access, twin: LiveTwin, streams: StreamDesk) -> None:
        self._access = access
        self._twin = twin
        self._streams = streams
        self._book = Book(settings.subscriptions_file)
        self._runners: dict[str, Runner] = {one.id: self._runner(one) for one in self._book.read()}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._saving: asyncio.Task[None] | None = None
        self._saved = b""
        self._turn = asyncio.Lock()

    @property
    def is_durable(self) -> bool:
        """Whether subscriptions survive a restart."""
        return self._book.is_durable

    async def start(self) -> None:
        """Begin to deliver."""
        for id in self._runners:
            self._start(id)
        if self.is_durable:
            self._saving = asyncio.create_task(self._keep_saving(), name="keeps subscriptions")

    async def stop(self) -> None:
        """End, and keep how far it came."""
        tasks = [*self._tasks.values(), *([self._saving] if self._saving else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with suppress(OSError):
            await self._save()
        self._book.close()

    async def add(self, asked: Subscribe, url: str, who: Principal) -> SubscriptionAnswer:
        """A new subscription, to all that changes from now on.

        Raises:
            ProblemError: 409, there are too many; 503, it cannot be kept.
        """
        if len(self._runners) >= MAX_SUBSCRIPTIONS:
            raise ProblemError(
                409,
                "too-many",
                f"there are {MAX_SUBSCRIPTIONS} subscriptions, and no more are taken: delete one, or all"
                " that are disabled",
            )
        one = Subscription(
            id=token_hex(8),
            url=url,
            secret=asked.secret,
            wanted=asked.wanted,
            owner=Owner(
                name=who.name,
                way=who.way,
                scopes=sorted(who.scopes),
                worlds=list(who.worlds),
                kinds=list(who.kinds),
            ),
            created_ms=time.time_ns() // 1_000_000,
            progress=Progress(position=self._twin.source.place().text),
        )
        self._runners[one.id] = self._runner(one)
        try:
            await self._save()
        except OSError as error:
            del self._runners[one.id]
            raise ProblemError(503, "not-kept", f"it cannot be kept: {error.strerror}") from error
        self._start(one.id)
        return self.show(self._runners[one.id])

    async def remove(self, runner: Runner) -> None:
        """End a subscription.

        Raises:
            ProblemError: 503, it ended, and would be there again after a restart.
        """
        id = runner.subscription.id
        self._runners.pop(id, None)
        task = self._tasks.pop(id, None)
        if task is not None:
            task.cancel()
        COUNT.set(len(self._runners))
        try:
            await self._save()
        except OSError as error:
            raise ProblemError(503, "not-kept", f"that it ended cannot be kept: {error.strerror}") from error

    def of(self, who: Principal) -> list[Runner]:
        """Those that somebody made; all for who has the scope admin."""
        return [
            runner
            for runner in self._runners.values()
            if runner.subscription.owner.name == who.name or who.may("admin")
        ]

    def show(self, runner: Runner) -> SubscriptionAnswer:
        """What is shown of one."""
        one, progress = runner.subscription, runner.subscription.progress
        return SubscriptionAnswer(
            id=one.id,
            url=one.url,
            owner=one.owner.name,
            created_ms=one.created_ms,
            durable=self.is_durable,
            state="disabled" if progress.disabled else "failing" if progress.failures else "active",
            reason=progress.disabled or "",
            wanted=one.wanted,
            delivery=DeliveryState(
                **progress.model_dump(include=set(DeliveryState.model_fields)),
                pending=runner.pending,
                next_try_ms=runner.next_try_ms,
            ),
        )

    def _runner(self, one: Subscription) -> Runner:
        return Runner(one, self._access, self._twin, self._streams)

    def _start(self, id: str) -> None:
        runner = self._runners[id]
        task = asyncio.create_task(runner.run(), name=f"webhook {id}")
        task.add_done_callback(lambda done: _note_end(done, runner))
        self._tasks[id] = task
        COUNT.set(len(self._runners))

    async def _keep_saving(self) -> None:
        while True:
            await asyncio.sleep(SAVE_S)
            try:
                await self._save()
            except OSError as error:
                log.error("subscriptions cannot be kept; tries again", error=str(error))

    async def _save(self) -> None:
        if not self.is_durable:
            return
        async with self._turn:
            content = content_of(runner.subscription for runner in self._runners.values())
            if content != self._saved:
                await asyncio.to_thread(self._book.write, content)
                self._saved = content


def _note_end(task: asyncio.Task[None], runner: Runner) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a webhook ended by a bug", subscription=runner.subscription.id, exc_info=error)
        runner.subscription.progress.disabled = "error: this is a bug; the log has its trace"
