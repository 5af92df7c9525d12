"""`twin check` on real servers."""

from typing import Any

from streams.settings import Settings, load_settings
from streams.tools.check import check_all
from streams.tools.findings import Findings
from tests.services.conftest import MakeSettings


async def found(settings: Settings) -> Findings:
    findings = Findings()
    await check_all(settings, findings)
    return findings


async def test_what_works_has_no_faults(
    make_settings: MakeSettings, services: dict[str, Any], influx: dict[str, Any]
) -> None:
    settings = await make_settings(prometheus_urls=services["prometheus"]["url"], **influx)

    findings = await found(settings)

    assert findings.faults == []
    text = "\n".join(line for _, line in findings.lines)
    assert f"6 topics {settings.topic_prefix}.* with 4 partitions" in text
    assert "`twin sink` will make bucket test-" in text
    assert f"sources: node_exporter/{services['prometheus']['url']}: " in text


async def test_all_faults_are_named_at_once(
    make_settings: MakeSettings, services: dict[str, Any], influx: dict[str, Any]
) -> None:
    settings = await make_settings()
    wrong = {
        "partitions": 5,
        "prometheus_urls": "http://127.0.0.1:1",
        "history_url": influx["history_url"],
        "history_token": "wrong",
    }

    findings = await found(load_settings(**settings.model_dump() | wrong))

    kinds = {fault.partition(":")[0] for fault in findings.faults}
    assert kinds == {"kafka", "history", "sources"}
    assert all(
        any(text in fault for fault in findings.faults)
        for text in ("set TWIN_PARTITIONS=4", "refuses TWIN_HISTORY_TOKEN", "http://127.0.0.1:1: ")
    )
    assert "wrong" not in "\n".join(findings.faults)


async def test_a_kafka_that_is_not_there_is_a_fault() -> None:
    findings = await found(load_settings(kafka_bootstrap_servers="127.0.0.1:1"))

    assert len(findings.faults) == 1
    assert findings.faults[0].startswith("kafka: 127.0.0.1:1 does not answer")
