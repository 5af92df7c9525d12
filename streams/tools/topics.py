"""`twin topics`: create the topics, list them, or move the twin into a new prefix with other partitions."""

import asyncio
from typing import Any

import click
from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from rich.console import Console
from rich.table import Table

from streams.domain.migrate import migrate as migrate_state
from streams.errors import InvalidMessageError, SettingsError, TwinError
from streams.kafka import client_options
from streams.records import State
from streams.schemas import load_codec
from streams.settings import Settings, load_settings
from streams.tools.scan import TopicScan
from streams.topics import DAY_MS, POLICIES, RECORDS, check_topics, create_topics, topics_of

GROUPS = {"worker": ("scrape", "event", "observation"), "sink": ("tick",)}
"""What each consumer group must have read to the end before the twin moves."""

SEND_EVERY = 500
"""[1] Records between waits for Kafka's answers."""


@click.group()
def topics() -> None:
    """Create the topics, list them, or move to other partitions."""


@topics.command()
@click.pass_obj
def create(settings: Settings) -> None:
    """Create the topics that are missing, each with its policy; those that are there stay as they are."""
    created = asyncio.run(create_topics(settings))
    for name in created:
        click.echo(f"created {name}")
    click.echo(f"{len(RECORDS)} topics with {settings.partitions} partitions, {len(created)} of them new")


@topics.command(name="list")
@click.pass_obj
def list_topics(settings: Settings) -> None:
    """Show the topics: records, policy, and what differs from what it should be."""
    asyncio.run(_list(settings))


@topics.command()
@click.option(
    "--to", "prefix", required=True, metavar="PREFIX", help="New TWIN_TOPIC_PREFIX; has no topics yet."
)
@click.option("--partitions", type=click.IntRange(1, 1_000), required=True, help="New TWIN_PARTITIONS.")
@click.option("--abandon", is_flag=True, help="Go on although messages are not applied; they stay behind.")
@click.pass_obj
def migrate(settings: Settings, prefix: str, partitions: int, abandon: bool) -> None:
    """Move the twin into a new prefix, which is the only way to another number of partitions.

    A partition's number follows from the key, so with other partitions entities have other homes. This
    creates the topics of the new prefix and copies the records of `state` there, each to its new partition.

    \b
    1. Stop all collectors; let worker and sink finish what is there; stop them.
    2. twin topics migrate --to NEW --partitions N
    3. Start all roles with TWIN_TOPIC_PREFIX=NEW and TWIN_PARTITIONS=N.
    4. When all is well, delete the old topics.

    The old topics are only read. Status, attributes, values and open ticks go along, scenario worlds do not;
    the ledger begins anew with the new log. It refuses while a worker or sink runs, and while messages wait
    for one.
    """
    target = load_settings(**settings.model_dump() | {"topic_prefix": prefix, "partitions": partitions})
    count, skipped = asyncio.run(move(settings, target, abandon=abandon))
    if skipped:
        click.echo(f"left behind: {skipped} records of {topics_of(settings)['state']} do not decode")
    click.echo(f"copied {count} entities into {topics_of(target)['state']}")
    click.echo(f"start all roles with TWIN_TOPIC_PREFIX={prefix} TWIN_PARTITIONS={partitions}")


async def move(settings: Settings, target: Settings, *, abandon: bool = False) -> tuple[int, int]:
    """Create the target's topics and copy the records; return how many were copied and how many left behind.

    Raises:
        SettingsError: the prefix is the same, or the source's topics are not as the settings say.
        TwinError: a group is running or behind, or the target holds records already.
    """
    if settings.embedded:
        raise TwinError("the embedded broker keeps nothing: start it with other TWIN_PARTITIONS instead")
    if target.topic_prefix == settings.topic_prefix:
        raise SettingsError([f"--to: is the present prefix, {settings.topic_prefix}: choose another one"])
    await check_topics(settings)
    faults = await _running(settings) + ([] if abandon else await _behind(settings))
    if faults:
        raise TwinError("\n".join(faults))
    await create_topics(target)
    async with TopicScan(target, topics_of(target)["state"]) as scan:
        if any((await scan.ends()).values()):
            raise TwinError(f"{topics_of(target)['state']} holds records already: choose another prefix")
    states, skipped = await _read_states(settings)
    return await _write_states(target, states), skipped


async def _running(settings: Settings) -> list[str]:
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        faults = []
        for role in GROUPS:
            # One at a time: aiokafka 0.14 reads the answer about several groups with the wrong layout.
            for answer in await admin.describe_consumer_groups([f"{settings.topic_prefix}-{role}"]):
                for _, name, _, _, _, members, *_ in answer.groups:
                    if members:
                        faults.append(f"{name} is running ({len(members)} members): stop it first")
        return faults
    finally:
        await admin.close()


async def _behind(settings: Settings) -> list[str]:
    faults = []
    names = topics_of(settings)
    for role, records in GROUPS.items():
        for record in records:
            async with TopicScan(settings, names[record], group=f"{settings.topic_prefix}-{role}") as scan:
                begins, ends, done = await scan.begins(), await scan.ends(), await scan.committed()
            lag = sum(ends[number] - max(done[number], begins[number]) for number in ends)
            if lag and not (role == "sink" and not any(done.values())):
                faults.append(
                    f"{names[record]}: {lag} messages wait for `twin {role}`: let it finish, or --abandon"
                )
    return faults


async def _read_states(settings: Settings) -> tuple[dict[bytes, State], int]:
    states: dict[bytes, State] = {}
    refused: set[bytes] = set()

    def take(record: ConsumerRecord) -> None:
        if record.value is None:
            states.pop(record.key, None)
            return
        try:
            state: State = load_codec("state").decode(record.value)
        except InvalidMessageError:
            refused.add(record.key)
            return
        known = states.get(record.key)
        if known is None or (state["epoch"], state["version"]) >= (known["epoch"], known["version"]):
            states[record.key] = state

    async with TopicScan(settings, topics_of(settings)["state"]) as scan:
        await scan.read(take)
    return states, len(refused - set(states))


async def _write_states(target: Settings, states: dict[bytes, State]) -> int:
    topic, codec = topics_of(target)["state"], load_codec("state")
    moved = [found for state in states.values() if (found := migrate_state(state, target.partitions))]
    producer = AIOKafkaProducer(**client_options(target), acks="all", linger_ms=5)
    await producer.start()
    try:
        for start in range(0, len(moved), SEND_EVERY):
            answers = [
                await producer.send(topic, codec.encode(state), key=key.encode(), partition=partition)
                for key, partition, state in moved[start : start + SEND_EVERY]
            ]
            await asyncio.gather(*answers)
    finally:
        await producer.stop()
    return len(moved)


async def _list(settings: Settings) -> None:
    await check_topics(settings)
    names = topics_of(settings)
    policies = {} if settings.embedded else await _policies(settings)
    table = Table("topic", "partitions", "records", "policy")
    for record in RECORDS:
        async with TopicScan(settings, names[record]) as scan:
            begins, ends = await scan.begins(), await scan.ends()
        has = policies.get(names[record], {})
        differs = [
            f"{key} is {has[key]}" for key, value in POLICIES[record].items() if has.get(key, value) != value
        ]
        count = sum(ends[number] - begins[number] for number in ends)
        policy = "memory only" if settings.embedded else _in_short(POLICIES[record])
        note = "; ".join([policy, *differs])
        table.add_row(
            names[record], str(settings.partitions), str(count), note, style="red" if differs else None
        )
    Console(highlight=False).print(table)


def _in_short(policy: dict[str, str]) -> str:
    if policy["cleanup.policy"] == "compact":
        return "compacted: newest record of each key"
    return f"kept {int(policy['retention.ms']) // DAY_MS} d"


async def _policies(settings: Settings) -> dict[str, dict[str, Any]]:
    """Settings of the topics as Kafka has them."""
    admin = AIOKafkaAdminClient(**client_options(settings))
    await admin.start()
    try:
        names = topics_of(settings)
        resources = [ConfigResource(ConfigResourceType.TOPIC, names[record]) for record in RECORDS]
        found = {}
        for answer in await admin.describe_configs(resources):
            for _, _, _, name, entries in answer.resources:
                found[name] = {entry[0]: entry[1] for entry in entries}
        return found
    finally:
        await admin.close()
