"""`twin rules` on live targets: it finds out by itself what they are."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner, Result

from streams.settings import Settings
from streams.tools.rules import rules

CASES = Path(__file__).parent.parent / "cases" / "rules"


class Target(BaseHTTPRequestHandler):
    """An exporter at /metrics, a Prometheus server below /prometheus, a JSON API at /state.json."""

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if path == "/metrics":
            self._answer("text/plain; version=0.0.4", CASES / "node_exporter/exporter/input.prom")
        elif path == "/state.json":
            self._answer("application/json", CASES / "decice_v2/whole/input.json")
        elif path == "/prometheus/api/v1/query":
            self._query(query["query"][0])
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._query(parse_qs(body)["query"][0])

    def _query(self, promql: str) -> None:
        answers = json.loads((CASES / "dcgm/kubernetes/input.promql.json").read_text())
        if "DCGM_FI_DEV_GPU_TEMP" in promql:
            self._send("application/json", json.dumps(answers["dcgm"]).encode())
        elif "pdu_node_power_watts" in promql:
            self._send("application/json", b'{"status":"error","errorType":"execution","error":"too much"}')
        else:
            empty = {"status": "success", "data": {"resultType": "vector", "result": []}}
            self._send("application/json", json.dumps(empty).encode())

    def _answer(self, content_type: str, path: Path) -> None:
        self._send(content_type, path.read_bytes())

    def _send(self, content_type: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Requests are not printed."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Target)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def run(*words: str) -> Result:
    return CliRunner().invoke(rules, words, obj=Settings.model_construct(config=None))


def test_an_exporter_is_found_by_its_address_alone(url: str) -> None:
    result = run("dry-run", "--target", url)

    assert result.exit_code == 0, result.output
    assert f"{url}/metrics: exposition, pack node_exporter" in result.output
    assert "ws01" in result.output


def test_a_json_api_is_found(url: str) -> None:
    result = run("dry-run", "--target", f"{url}/state.json")

    assert f"{url}/state.json: JSON document, pack decice_v2" in result.output
    assert "rejected (range): node ws01: power_watts = -1.0" in result.output


def test_a_prometheus_server_is_asked_for_all_packs(url: str) -> None:
    result = run("dry-run", "--target", f"{url}/prometheus")

    assert "Prometheus server, pack dcgm: " in result.output
    assert "gpu_usage_percent" in result.output
    assert "pack slurm" not in result.output


def test_a_query_that_fails_is_named(url: str) -> None:
    result = run("lint", f"{url}/prometheus", "--pack", "power")

    assert "query power failed: query power: execution: too much" in result.output


def test_a_server_without_anything_is_explained(url: str) -> None:
    result = run("dry-run", "--target", f"{url}/prometheus", "--pack", "slurm")

    assert result.exit_code == 0
    assert "pack slurm: 0 series give 0 samples" in result.output


def test_a_target_that_is_not_there_is_explained(url: str) -> None:
    result = run("dry-run", "--target", f"{url}/nothing.txt")

    assert str(result.exception).startswith(f"{url}/nothing.txt: ")
    assert "404" in str(result.exception)
