"""`python3 tests/services/stack COMMAND`: the command line of the services."""

import argparse
import sys
from pathlib import Path

# Python puts the folder that it runs on the path; the package is that folder itself, so its parent is wanted.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from stack import control
from stack.errors import StackError
from stack.layout import STACK, locked
from stack.telegraf import telegraf


def main(arguments: list[str]) -> int:
    """Run one command and return the exit code."""
    options = _parser().parse_args(arguments)
    names = [options.name] if getattr(options, "name", None) else list(control.SERVICES)
    try:
        if options.command == "status":
            return 0 if control.status(names) else 1
        with locked(STACK):
            _run(options, names)
    except StackError as error:
        print(f"services: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _run(options: argparse.Namespace, names: list[str]) -> None:
    if options.command == "telegraf":
        print(telegraf())
    elif options.command == "stop":
        control.stop(names, wipe=options.wipe)
    else:
        commands = {
            "install": control.install,
            "start": control.start,
            "restart": control.restart,
            "kill": control.kill,
            "pause": control.pause,
            "resume": control.resume,
        }
        commands[options.command](names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 tests/services/stack",
        description="Real Kafka, Prometheus, node_exporter and history stores for the tests.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command, text in {
        "install": "get and build what is missing",
        "start": "install, then start what is not running, and wait until all is healthy",
        "stop": "end the services",
        "status": "print the state of the services; exit code 1 unless all are healthy",
    }.items():
        sub = commands.add_parser(command, help=text, description=text)
        sub.add_argument(
            "name",
            nargs="?",
            choices=control.SERVICES,
            metavar="NAME",
            help=", ".join(control.SERVICES) + "; all if absent",
        )
        if command == "stop":
            sub.add_argument(
                "--wipe", action="store_true", help="also remove data, logs, remembered ports and secrets"
            )
    for command, text in {
        "restart": "end one service and start it at the same port with the same data",
        "kill": "end one service with SIGKILL",
        "pause": "stop one service with SIGSTOP",
        "resume": "let a paused service go on",
    }.items():
        sub = commands.add_parser(command, help=text, description=text)
        sub.add_argument("name", choices=control.SERVICES, metavar="NAME", help=", ".join(control.SERVICES))
    commands.add_parser("telegraf", help="build Telegraf for the benchmarks and print its path")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
