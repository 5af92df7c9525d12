"""A twin with the demo's testbed: all roles, and history, for pages that need more than states."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from streams.embedded.broker import free_port

DEADLINE_S = 90.0
"""[s] For a twin to start on a busy machine."""


def _environment(**more: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("TWIN_")}
    return own | more


def _ask(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def _until(url: str, holds: Any) -> Any:
    end_s = time.monotonic() + DEADLINE_S
    while True:
        try:
            answer = _ask(url)
            if holds(answer):
                return answer
        except OSError:
            pass
        assert time.monotonic() < end_s, f"{url} did not come to it"
        time.sleep(0.2)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a twin with the demo's testbed, an overlay with a node down, and some history."""
    data = tmp_path_factory.mktemp("twin")
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "streams", "up", "--demo", "--data", str(data)]
    with (data / "up.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=_environment(TWIN_WEB_PORT=str(urlsplit(url).port))
        )
        try:
            _until(f"{url}/twin/v1/state?kind=node", lambda answer: len(answer["entities"]) > 5)
            events = f"{url}/twin/v1/events"
            _ask(events, {"type": "world.create", "world": "live~storm", "body": {"owner": "tests"}})
            _until(f"{url}/twin/v1/worlds", lambda answer: len(answer["worlds"]) > 1)
            body = {
                "fault": "f1",
                "kind": "node_down",
                "selector": {"kind": "node", "ids": ["jetson-nano-5"]},
            }
            _ask(events, {"type": "fault.start", "world": "live~storm", "body": body})
            history = f"{url}/twin/v1/entities/node/jetson-nano-3/history?metrics=cpu_usage_percent"
            _until(history, lambda answer: answer["points"] >= 3)
            yield url
        finally:
            _stop(process)
