"""The commands: install, start, stop, and what fault tests do to one service."""

import json
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from . import process, tools
from .errors import StackError
from .influxdb import BUCKET, INFLUXDB, ORG
from .kafka import KAFKA
from .kairosdb import KAIROSDB
from .layout import (
    CHECKOUT,
    ENV_FILE,
    FACTS_FILE,
    data_folder,
    log_file,
    make_root,
    say,
    wipe_root,
    write_private,
)
from .prometheus import NODE_EXPORTER, PROMETHEUS, PROMETHEUS_HISTORY
from .remembered import Remembered, choose_ports, is_free, recall, remember
from .service import Service
from .victoriametrics import VICTORIAMETRICS

SERVICES = {
    service.name: service
    for service in (
        KAFKA,
        INFLUXDB,
        NODE_EXPORTER,
        PROMETHEUS,
        PROMETHEUS_HISTORY,
        VICTORIAMETRICS,
        KAIROSDB,
    )
}

HEALTH_TIMEOUT_S = 90.0
"""[s] Kafka needs about 4 s on idle cores; the rest is for a machine that also builds or tests."""

END_TIMEOUT_S = 20.0
"""[s] From SIGTERM to SIGKILL; a broker with many topics takes several seconds to close them."""

PORT_TIMEOUT_S = 10.0
"""[s] For the kernel to take back the port of a process that was just killed."""


def install(names: Collection[str] = tuple(SERVICES)) -> None:
    """Get and build what is missing."""
    make_root()
    services = [SERVICES[name] for name in names]
    tools.obtain({tool for service in services for tool in service.tools()})
    _side_by_side(lambda service: service.build(), services)


def start(names: Collection[str] = tuple(SERVICES)) -> None:
    """Install, start and set up what is not running already, and resume what is paused.

    Raises: StackError if a service does not get healthy in time.
    """
    install(names)
    began = time.monotonic()
    remembered = _recall_or_choose(names)
    fresh = [SERVICES[name] for name in names if not _resume(name)]
    _side_by_side(lambda service: _launch(service, remembered), fresh)
    deadline = time.monotonic() + HEALTH_TIMEOUT_S
    for name in names:
        _wait_until_healthy(SERVICES[name], remembered, deadline)
        SERVICES[name].set_up(remembered)
    _write_facts(remembered)
    for name in names:
        if SERVICES[name] in fresh:
            say(f"{name}: started at {remembered.address(name)}")
        else:
            say(f"{name}: already running at {remembered.address(name)}")
    took_s = time.monotonic() - began
    say(f"healthy after {took_s:.1f} s; `. {ENV_FILE.relative_to(CHECKOUT)}` sets the addresses")


def stop(names: Collection[str] = tuple(SERVICES), *, wipe: bool = False) -> None:
    """End the services, paused ones too, and with `wipe` remove their data; a full stop removes `env` too."""
    _end(names, signal.SIGTERM)
    if set(names) == set(SERVICES):
        ENV_FILE.unlink(missing_ok=True)
        FACTS_FILE.unlink(missing_ok=True)
        if wipe:
            wipe_root()
    elif wipe:
        for name in names:
            shutil.rmtree(data_folder(name), ignore_errors=True)


def restart(names: Collection[str]) -> None:
    """End the services and start them at the same ports, with the same data."""
    stop(names)
    start(names)


def kill(names: Collection[str]) -> None:
    """End the services with SIGKILL, as a lost machine would."""
    _end(names, signal.SIGKILL)


def pause(names: Collection[str]) -> None:
    """Stop the services with SIGSTOP: their ports stay open and nobody answers."""
    for name in names:
        found = process.find(name)
        if found is None:
            raise StackError(f"{name} is not running")
        found.send(signal.SIGSTOP)
        say(f"{name}: paused")


def resume(names: Collection[str]) -> None:
    """Let paused services go on."""
    for name in names:
        if not _resume(name):
            raise StackError(f"{name} is not running")
        say(f"{name}: running")


def status(names: Collection[str] = tuple(SERVICES)) -> bool:
    """Print the state of each service, and return whether all are healthy."""
    remembered = recall()
    states = {name: _state(SERVICES[name], remembered) for name in names}
    for name, state in states.items():
        say(f"{name}: {state}")
    return set(states.values()) == {"healthy"}


def _recall_or_choose(names: Collection[str]) -> Remembered:
    """Return the remembered ports and secrets, with ports for what was not there when they were chosen.

    While none of the services runs, a port that another program took meanwhile is chosen anew.
    """
    all_ports = [port for service in SERVICES.values() for port in service.port_names]
    remembered = recall() or Remembered(ports={})
    kept = remembered.ports
    running = any(process.find(name) for name in SERVICES)
    if not running:
        kept = {name: port for name, port in kept.items() if is_free(port)}
    chosen = choose_ports((name for name in all_ports if name not in kept), kept.values())
    if chosen:
        remembered = remember(replace(remembered, ports=kept | chosen))
    if running:
        _wait_until_free(names, remembered)
    return remembered


def _wait_until_free(names: Collection[str], remembered: Remembered) -> None:
    """Wait until the services that do not run can have their ports again.

    Raises: StackError if another program holds one.
    """
    deadline = time.monotonic() + PORT_TIMEOUT_S
    for name in names:
        while process.find(name) is None and not all(
            is_free(remembered.ports[port]) for port in SERVICES[name].port_names
        ):
            if time.monotonic() > deadline:
                raise StackError(
                    f"{name}: another program took its port; `stop`, then `start` chooses new ports for all"
                )
            time.sleep(process.POLL_S)


def _side_by_side(work: Callable[[Service], object], services: Collection[Service]) -> None:
    """Do it for all of them at a time: the first start of one runs programs of its own."""
    with ThreadPoolExecutor() as pool:
        for job in [pool.submit(work, service) for service in services]:
            job.result()


def _launch(service: Service, remembered: Remembered) -> None:
    service.prepare(remembered)
    environment = tools.plain_environment() | service.environment
    process.launch(service.name, service.command(remembered), environment, log_file(service.name))


def _resume(name: str) -> bool:
    """Return whether the service runs, after letting it go on if it was paused."""
    found = process.find(name)
    if found is not None:
        found.send(signal.SIGCONT)
    return found is not None


def _wait_until_healthy(service: Service, remembered: Remembered, deadline: float) -> None:
    while not service.is_healthy(remembered):
        log = log_file(service.name)
        if process.find(service.name) is None:
            process.forget(service.name)
            raise StackError(f"{service.name} ended at start; the end of {log}:\n{tools.tail(log)}")
        if time.monotonic() > deadline:
            advice = f"see {log}, or try `restart {service.name}`"
            raise StackError(f"{service.name} is not healthy after {HEALTH_TIMEOUT_S:.0f} s: {advice}")
        time.sleep(process.POLL_S)


def _end(names: Collection[str], first: signal.Signals) -> None:
    """Send `first` to the services that run, then SIGKILL to those that do not heed it in time."""
    running = {name: found for name in names if (found := process.find(name))}
    for found in running.values():
        found.send(first)
        # A paused process gets no other signal before this one.
        found.send(signal.SIGCONT)
    deadline = time.monotonic() + END_TIMEOUT_S
    for name, found in running.items():
        if not found.wait_until_gone(deadline):
            say(f"{name}: does not heed {first.name}, so it gets SIGKILL")
            found.send(signal.SIGKILL)
            found.wait_until_gone(time.monotonic() + END_TIMEOUT_S)
    for name in names:
        process.forget(name)
        say(f"{name}: {'ended' if name in running else 'was not running'}")
    remembered = recall()
    if remembered and FACTS_FILE.exists():
        _write_facts(remembered)


def _state(service: Service, remembered: Remembered | None) -> str:
    found = process.find(service.name)
    if found is None or remembered is None:
        return "not running"
    if found.is_paused():
        return "paused"
    return "healthy" if service.is_healthy(remembered) else "running, but not healthy"


def _write_facts(remembered: Remembered) -> None:
    """Write the addresses twice: as JSON for tests, and as what our own settings are named for a shell."""
    facts = {}
    for name, service in SERVICES.items():
        found = process.find(name)
        facts[name] = service.facts(remembered) | {
            "pid": found.pid if found else None,
            "log": str(log_file(name)),
        }
    write_private(FACTS_FILE, json.dumps(facts, indent=2) + "\n")
    variables = {
        "TWIN_KAFKA_BOOTSTRAP_SERVERS": remembered.address("kafka"),
        "TWIN_HISTORY_URL": f"influxdb+{remembered.url('influxdb')}/{ORG}/{BUCKET}",
        "TWIN_HISTORY_TOKEN": remembered.influxdb_token,
        "TWIN_PROMETHEUS_URLS": remembered.url("prometheus"),
    }
    write_private(
        ENV_FILE, "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    )
