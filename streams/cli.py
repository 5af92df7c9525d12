"""The commands of `twin`; the only place that builds Settings."""

import asyncio
import sys
from importlib import import_module
from typing import Any

import click

from streams.errors import SettingsError, TwinError
from streams.logs import configure_logs
from streams.settings import Settings, load_settings

COMMANDS = {
    "collect": ("streams.collect.run:collect", "Scrape the sources into the topic `scrape`."),
    "worker": (
        "streams.tools.worker:worker",
        "Harmonise and keep the twin: scrape and event to state and tick.",
    ),
    "sink": ("streams.tools.sink:sink", "Write closed ticks to the history store."),
    "web": ("streams.tools.web:web", "Serve the REST API."),
    "key": ("streams.tools.key:key", "Make a key for the API of `twin web`."),
    "up": ("streams.tools.up:up", "Run all roles on this machine; what has no address is embedded."),
    "check": ("streams.tools.check:check", "Validate settings, files and reachability; list all faults."),
    "topics": ("streams.tools.topics:topics", "Create the topics, or migrate to other partitions."),
    "state": ("streams.tools.state:state", "Show the state of the twin, now or as of a moment."),
    "history": ("streams.tools.history:history", "Show what was, over time."),
    "diff": ("streams.tools.diff:diff", "Show what changed between two moments."),
    "why": ("streams.tools.why:why", "Say where a value comes from."),
    "tap": ("streams.tools.tap:tap", "Print the records of a topic as they come."),
    "deadletters": (
        "streams.tools.deadletters:deadletters",
        "List what could not be taken, look into it, send it again.",
    ),
    "events": ("streams.tools.events:events", "Check files of events and send them."),
    "world": ("streams.tools.world:world", "List worlds, hash their closed ticks, drop them."),
    "document": ("streams.tools.document:document", "Write the twin in the format of others, or read it in."),
    "vte": ("streams.tools.vte:vte", "Scenarios for training: load, run and export them."),
    "record": ("streams.tools.replay:record", "Keep what the twin was told in a file, with its hash."),
    "replay": ("streams.tools.replay:replay", "Play what the twin was told again, and compare the hash."),
    "backfill": ("streams.tools.backfill:backfill", "Load a Prometheus server's past into history."),
    "export": ("streams.tools.export:export", "Write history to a Parquet or CSV file."),
    "ledger": ("streams.tools.ledger:ledger", "Count every sample and compare with the records."),
    "agents": ("streams.tools.agents:agents", "Say what each agent does."),
    "rules": ("streams.tools.rules:rules", "Check rule packs and try them on a target."),
    "bench": ("streams.tools.bench:bench", "Measure this machine and write the figures."),
}
"""Each command's place and summary; it is imported when it is called, so that `twin` starts fast."""

ALONE = ("up", "rules", "agents", "bench", "key")
"""Commands that do not look for a `twin up` that runs on this machine."""


class Twin(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order in which a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what the twin can explain is printed, not traced."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            click.echo("\n".join(f"Error: {fault}" for fault in error.faults), err=True)
            sys.exit(2)
        except TwinError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)
        except Exception as error:
            if not _is_kafkas(error):
                raise
            click.echo(f"Error: Kafka: {error}; `twin check` says more", err=True)
            sys.exit(1)


@click.group(cls=Twin, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="decice-twin-stream")
@click.pass_context
def main(ctx: click.Context) -> None:
    """A digital twin of a compute continuum, kept as a stream. Settings are TWIN_* variables."""
    ctx.obj = _settings(ctx)


def _is_kafkas(error: Exception) -> bool:
    """Whether an error is the Kafka client's, told by name: importing it would slow every command down."""
    return any(cls.__module__ == "aiokafka.errors" for cls in type(error).__mro__)


def _settings(ctx: click.Context) -> Settings:
    try:
        settings = load_settings()
    except SettingsError as error:
        if ctx.invoked_subcommand != "check":
            raise
        # `twin check` reports these beside what else it finds, with defaults for the rest.
        ctx.meta["faults"] = error.faults
        settings = Settings.model_construct()
    alone = ctx.invoked_subcommand in ALONE or "faults" in ctx.meta
    if settings.kafka_bootstrap_servers is None and not alone:
        settings = _those_of_running(settings)
    configure_logs(settings)
    if settings.schema_registry_url and not alone:
        from streams.registry import use_registry

        asyncio.run(use_registry(settings))
    return settings


def _those_of_running(settings: Settings) -> Settings:
    """The settings of a `twin up` on this machine, under those of the environment."""
    from streams.embedded.runtime import find_running

    running = find_running() or {}
    found = {name.removeprefix("TWIN_").lower(): value for name, value in running.items()}
    return load_settings(
        **{name: value for name, value in found.items() if name not in settings.model_fields_set}
    )
