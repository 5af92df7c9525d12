"""`twin check`: looks at everything that the roles need, and lists all faults."""

import asyncio
import time
from collections.abc import Callable
from difflib import get_close_matches

import click
from pydantic_settings import EnvSettingsSource

from streams.collect.config import CollectConfig, load_config
from streams.errors import SettingsError, TwinError
from streams.kafka import tls_context
from streams.rulebook import RuleBook, load_rulebook
from streams.schemas import load_codec, released_schemas
from streams.settings import Settings, load_settings
from streams.tools.findings import Findings
from streams.tools.reach import check_history, check_kafka, check_registry, check_sources
from streams.topics import RECORDS
from streams.web.access.address import check_address
from streams.web.access.config import load_access


@click.command()
@click.pass_context
def check(ctx: click.Context) -> None:
    """Check settings, files, schemas, topics, and whether Kafka, the history store and all sources answer.

    Lists all faults at once. Changes nothing. Exit code 0 when there are none, else 1.
    """
    findings = Findings()
    settings: Settings = ctx.obj
    if faults := ctx.meta.get("faults", []):
        findings.fault("\n".join(f"settings: {text}" for text in faults))
        settings = without(faults) or settings
    asyncio.run(check_all(settings, findings))
    for mark, text in findings.lines:
        click.echo(f"{click.style(f'{mark:5}', fg={'ok': 'green', 'FAULT': 'red'}.get(mark))} {text}")
    if findings.faults:
        click.echo(f"{len(findings.faults)} fault{'s' if len(findings.faults) > 1 else ''}")
        raise SystemExit(1)


async def check_all(settings: Settings, findings: Findings) -> None:
    """Run all checks; each adds what it finds."""
    check_variables(findings)
    check_secrets(settings, findings)
    check_schemas(findings)
    config, rulebook = check_files(settings, findings)
    check_access(settings, findings)
    await check_kafka(settings, findings)
    await check_registry(settings, findings)
    await check_history(settings, findings)
    if rulebook:
        await check_sources(settings, config, rulebook, findings)


def without(faults: list[str]) -> Settings | None:
    """Settings with defaults for what is wrong, so that the rest is checked; None when that does not help."""
    names = [fault.partition(":")[0].removeprefix("TWIN_").lower() for fault in faults]
    known = {name: Settings.model_fields[name].default for name in names if name in Settings.model_fields}
    try:
        return load_settings(**known)
    except SettingsError:
        return None


def check_variables(findings: Findings) -> None:
    """Variables that nothing reads: most likely misspelt."""
    fields = {f"twin_{name}" for name in Settings.model_fields}
    named = {
        name.lower() for name in EnvSettingsSource(Settings).env_vars if name.lower().startswith("twin_")
    }
    for name in sorted(named - fields):
        near = get_close_matches(name, fields, n=1, cutoff=0.75)
        if near:
            findings.fault(f"settings: {name.upper()} is not a setting; is {near[0].upper()} meant?")
        else:
            findings.note(f"settings: {name.upper()} is not a setting, nothing reads it")
    known = len(named & fields)
    findings.ok(f"settings: {known} variables set, {len(fields) - known} at their defaults")


CERTIFICATES = ("kafka_ca_file", "kafka_cert_file", "kafka_key_file", "history_ca_file")
"""Settings that name a PEM file."""


def check_secrets(settings: Settings, findings: Findings) -> None:
    """Files with secrets and certificates."""
    missing = [name for name in CERTIFICATES if (path := getattr(settings, name)) and not path.is_file()]
    for name in missing:
        findings.fault(f"settings: TWIN_{name.upper()}: {getattr(settings, name)} is not a file")
    reads: list[Callable[[], object]] = [lambda: settings.sasl_password, lambda: settings.token]
    for read in reads if missing else [*reads, lambda: tls_context(settings)]:
        try:
            read()
        except SettingsError as error:
            findings.fault(f"settings: {error}")
    has_password = settings.kafka_sasl_password or settings.kafka_sasl_password_file
    if settings.kafka_security_protocol.startswith("SASL") and not has_password:
        findings.fault("settings: TWIN_KAFKA_SASL_PASSWORD or TWIN_KAFKA_SASL_PASSWORD_FILE is not set")


def check_schemas(findings: Findings) -> None:
    """The Avro schemas, present and released."""
    released = 0
    for record in RECORDS:
        try:
            load_codec(record)
            released += len(released_schemas(record))
        except (OSError, ValueError) as error:
            findings.fault(f"schemas: {record}: {error}: install the project again")
    findings.ok(f"schemas: {len(RECORDS)} records, {released} earlier releases")


def check_files(settings: Settings, findings: Findings) -> tuple[CollectConfig, RuleBook | None]:
    """TWIN_CONFIG and all rule packs."""
    config, rulebook = CollectConfig(), None
    try:
        config = load_config(settings.config)
        if settings.config:
            findings.ok(f"config: {settings.config}: {len(config.sources)} sources")
    except SettingsError as error:
        findings.fault("\n".join(f"config: {text}" for text in error.faults))
    try:
        rulebook = load_rulebook(config.rule_packs)
        findings.ok(f"rules: {len(rulebook.packs)} packs: {', '.join(sorted(rulebook.packs))}")
    except TwinError as error:
        findings.fault("\n".join(f"rules: {line}" for line in str(error).splitlines()))
    return config, rulebook


def check_access(settings: Settings, findings: Findings) -> None:
    """Who may use `twin web`, and whether it may listen where it is to."""
    try:
        rules = load_access(settings)
        check_address(settings, rules)
    except SettingsError as error:
        # A file that cannot be read is told of where it is read first.
        told = {text.partition(": ")[2] for text in findings.faults}
        findings.fault("\n".join(f"access: {text}" for text in error.faults if text not in told))
        return
    if rules.is_open:
        findings.note(f"access: nobody needs a key: `twin web` serves {settings.web_host} alone")
        return
    for key in rules.keys:
        if key.expires_s is not None and key.expires_s <= time.time():
            findings.note(f"access: the key {key.name} expired at {key.expires}")
    oidc = f", tokens of {rules.oidc.issuer}" if rules.oidc else ""
    without = f"; without a key: {', '.join(rules.anonymous) or 'nothing'}"
    findings.ok(f"access: {len(rules.keys)} key{'s' * (len(rules.keys) != 1)}{oidc}{without}")
