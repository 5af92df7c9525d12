"""`twin up`: the whole twin on this machine in one command."""

import time
from dataclasses import dataclass
from pathlib import Path

import click
import psutil

from streams.embedded.run import Run, loopback
from streams.embedded.runtime import ENV_FILE, claim, default_data_dir
from streams.embedded.sources import collect_variables
from streams.settings import Settings
from streams.web.access.config import load_access


@click.command()
@click.option("--demo", is_flag=True, help="Add the source `demo`: a recorded testbed, marked simulated.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for history and logs.  [default: $XDG_STATE_HOME/twin or ~/.local/state/twin]",
)
@click.pass_obj
def up(settings: Settings, demo: bool, data: Path | None) -> None:
    """Run the whole twin on this machine until Ctrl-C.

    What has no address is embedded: without TWIN_KAFKA_BOOTSTRAP_SERVERS a broker in memory, without
    TWIN_HISTORY_URL a DuckDB file in the data folder. Without TWIN_CONFIG and TWIN_PROMETHEUS_URLS the
    source is this machine itself.
    """
    folder = (data or default_data_dir()).absolute()
    tell = Progress(psutil.Process().create_time())
    with claim(folder):
        sources = collect_variables(settings, folder, demo=demo)
        run = Run(settings, folder, sources, tell)
        run.until_stopped(lambda actual: farewell(actual, folder, found_by_itself=data is None))
    tell("stopped", "nothing is left running")


@dataclass(frozen=True)
class Progress:
    """Lines for the person at the terminal, each with the seconds since the command was started."""

    started_s: float

    def __call__(self, what: str, text: str) -> None:
        """Print one line."""
        click.echo(f"{time.time() - self.started_s:6.1f} s  {what:<9} {text}")


def farewell(settings: Settings, data: Path, *, found_by_itself: bool) -> None:
    """Print where to look, and what to try in another terminal."""
    host = loopback(settings.web_host)
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.web_port}"
    key = "" if load_access(settings).is_open else " -H 'Authorization: Bearer KEY'"
    before = "" if found_by_itself else f". {data / ENV_FILE}; "
    click.echo(
        f"\nThe twin runs; Ctrl-C stops it. Look at {url}/docs, or try in another terminal:\n"
        f"  {before}twin state\n"
        f"  {before}twin tap tick\n"
        f"  curl{key} {url}/twin/v1/state\n"
        f"Its settings as shell exports: {data / ENV_FILE}; logs: {data / 'logs'}\n"
    )
