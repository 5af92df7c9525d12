"""What tests on real servers share: addresses, topics of their own, role processes that end with the test."""

import json
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient

from streams.kafka import client_options
from streams.settings import Settings, load_settings
from streams.topics import RECORDS, create_topics, topics_of
from tests.services.browser import browser, make_site, open_page  # noqa: F401  # fixtures
from tests.services.demotwin import demo  # noqa: F401
from tests.services.roles import FAILED, Role
from tests.services.stack.layout import FACTS_FILE

SESSION_MS = 3_000
"""[ms] Short, so that a killed worker's partitions move soon; tests that need it longer say so."""

ROLES = pytest.StashKey[list[Role]]()


class StartRole(Protocol):
    """Starts a role and waits until it is ready."""

    def __call__(
        self, name: str, settings: Settings, *, ready: bool = True, supervised: bool = False, **more: str
    ) -> Awaitable[Role]:
        """`more`: environment variables beside the settings; `supervised`: started again whenever it ends."""


class MakeSettings(Protocol):
    """Settings with a topic prefix of their own, whose topics are created."""

    def __call__(self, **overrides: Any) -> Awaitable[Settings]:
        """Each override is a field of Settings."""


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test says which settings it has; the shell's are those of somebody else."""
    for name in [name for name in os.environ if name.startswith("TWIN_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def services() -> dict[str, Any]:
    """Addresses and secrets of the real servers."""
    try:
        facts: dict[str, Any] = json.loads(FACTS_FILE.read_text())
    except FileNotFoundError:
        pytest.fail("the services do not run: run `make services` first", pytrace=False)
    ended = [name for name, fact in facts.items() if fact["pid"] is None]
    if ended:
        pytest.fail(f"{', '.join(ended)} ended: run `make services` first", pytrace=False)
    return facts


@pytest.fixture
def influx(services: dict[str, Any]) -> dict[str, Any]:
    """Settings of a bucket in the real InfluxDB that nobody used before; the sink creates it."""
    facts = services["influxdb"]
    address = facts["url"].removeprefix("http://")
    return {
        "history_url": f"influxdb+http://{address}/{facts['org']}/test-{secrets.token_hex(6)}",
        "history_token": facts["token"],
    }


@pytest_asyncio.fixture
async def make_settings(
    services: dict[str, Any], request: pytest.FixtureRequest
) -> AsyncIterator[MakeSettings]:
    """A factory of settings for the real Kafka; the topics go when the test succeeded."""
    made: list[Settings] = []

    async def make(**overrides: Any) -> Settings:
        values = {
            "kafka_bootstrap_servers": services["kafka"]["bootstrap_servers"],
            "kafka_session_timeout_ms": SESSION_MS,
            "topic_prefix": f"test-{secrets.token_hex(6)}",
            "partitions": 4,
        }
        settings = load_settings(**(values | overrides))
        await create_topics(settings)
        made.append(settings)
        return settings

    yield make
    for settings in made:
        if not request.node.stash.get(FAILED, False):
            await _delete_topics(settings)


@pytest_asyncio.fixture
async def settings(make_settings: MakeSettings) -> Settings:
    """Settings with four partitions."""
    return await make_settings()


@pytest_asyncio.fixture
async def role(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StartRole]:
    """Starts role processes; they end with the test, and their logs are shown when it fails."""
    roles = request.node.stash[ROLES] = []

    async def start(
        name: str, settings: Settings, *, ready: bool = True, supervised: bool = False, **more: str
    ) -> Role:
        started = Role(name, settings, tmp_path / f"{name}-{len(roles)}.log", more)
        roles.append(started)
        if supervised:
            await started.supervise()
        else:
            await started.start()
        if ready:
            await started.ready()
        return started

    yield start
    for started in roles:
        await started.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show the logs of the role processes of a test that failed."""
    report: Any = yield  # type: ignore[misc]  # pytest sends the report
    if report.failed:
        item.stash[FAILED] = True
        for started in item.stash.get(ROLES, []):
            report.sections.append((f"log of {started.log.stem}", started.tail(150)))
    return report


async def _delete_topics(settings: Settings) -> None:
    topics = topics_of(settings)
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        await admin.delete_topics([topics[record] for record in RECORDS])
    finally:
        await admin.close()


Start = Callable[..., Awaitable[Role]]
