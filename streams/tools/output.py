"""Standard output: a terminal, or the file or pipe in its place."""

import sys
from typing import Any

import click
from rich.console import Console

from streams.encoding import encode_json

UNBOUNDED_WIDTH = 10_000
"""[1] Of output that is no terminal: whoever reads it wants all of it."""


def new_console(width: int = UNBOUNDED_WIDTH) -> Console:
    """Where tables are printed; `width` [1] counts where there is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else width)


def echo_json(document: Any) -> None:
    """Print a document: for a person with indents, for a program on one line."""
    click.echo(encode_json(document, indent=2 if sys.stdout.isatty() else None))
