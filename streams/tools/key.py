"""`twin key`: makes a key for the API, and says what to put into TWIN_CONFIG."""

import secrets
from datetime import date, datetime

import click
import yaml

from streams.web.access.config import RESERVED, KeyConfig, hash_of
from streams.web.access.principal import ALL, SCOPES

BYTES = 32
"""[B] of chance in a key: more than anybody can try."""


@click.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(SCOPES),
    multiple=True,
    help="read: what is shown; events: what is sent; admin: dead letters. Repeatable.  [default: read]",
)
@click.option(
    "--world", "worlds", multiple=True, help="Only worlds such as live~*. Repeatable.  [default: all]"
)
@click.option("--kind", "kinds", multiple=True, help="Only kinds such as node. Repeatable.  [default: all]")
@click.option("--expires", type=click.DateTime(["%Y-%m-%d"]), help="Day from which it opens nothing (UTC).")
def key(
    name: str,
    scopes: tuple[str, ...],
    worlds: tuple[str, ...],
    kinds: tuple[str, ...],
    expires: datetime | None,
) -> None:
    """Make a key for people or programs that use `twin web`.

    The key is the first line; it is shown once and kept nowhere. The rest belongs into the file that
    TWIN_CONFIG names, of each `twin web`; it holds a hash, from which nobody gets the key.
    """
    text = secrets.token_urlsafe(BYTES)
    entry = entry_of(name, text, scopes or ("read",), worlds, kinds, expires.date() if expires else None)
    click.echo(text)
    click.echo(as_yaml(entry))


def entry_of(
    name: str,
    text: str,
    scopes: tuple[str, ...],
    worlds: tuple[str, ...] = (),
    kinds: tuple[str, ...] = (),
    expires: date | None = None,
) -> dict[str, object]:
    """What the configuration says of a key.

    Raises:
        click.BadParameter: the name cannot be one.
    """
    if name in RESERVED:
        raise click.BadParameter(f"{name} is taken: choose another", param_hint="NAME")
    entry: dict[str, object] = {"name": name, "sha256": hash_of(text), "scopes": list(scopes)}
    entry |= {"worlds": list(worlds or [ALL]), "kinds": list(kinds or [ALL])}
    entry |= {"expires": expires} if expires else {}
    try:
        KeyConfig.model_validate(entry)
    except ValueError:
        words = "letters, digits, _ . and - (63 at most); patterns of worlds and kinds must not be empty"
        raise click.BadParameter(f"a name has {words}", param_hint="NAME") from None
    return entry


def as_yaml(entry: dict[str, object]) -> str:
    """The section, to be pasted."""
    line = yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=10_000).strip()
    return f"access:\n  keys:\n    - {line}"
