"""Every role and the replica through TLS and a password, and what is said when one of them is wrong."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from streams.errors import SettingsError
from streams.replica import TwinReplica
from streams.settings import Settings
from streams.topics import check_topics
from tests.services import roles
from tests.services.conftest import MakeSettings, StartRole
from tests.services.test_sink import Influx

ROLES = ("collect", "worker", "sink", "web")

WRONG = "quite-wrong-and-still-a-secret"


@pytest.fixture
def sasl_ssl(services: dict[str, Any]) -> dict[str, Any]:
    """Settings of the listener with TLS and a password."""
    facts = services["kafka"]["sasl_ssl"]
    return {
        "kafka_bootstrap_servers": facts["bootstrap_servers"],
        "kafka_security_protocol": "SASL_SSL",
        "kafka_sasl_username": facts["username"],
        "kafka_sasl_password": SecretStr(facts["password"]),
        "kafka_ca_file": Path(facts["ca_file"]),
    }


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_all_roles_and_the_replica_speak_tls_with_a_password(
    make_settings: MakeSettings,
    influx: dict[str, Any],
    services: dict[str, Any],
    role: StartRole,
    sasl_ssl: dict[str, Any],
    mechanism: str,
) -> None:
    settings = await make_settings(
        **sasl_ssl,
        **influx,
        kafka_sasl_mechanism=mechanism,
        prometheus_urls=services["prometheus"]["url"],
        scrape_interval_s=1,
        step_ms=1_000,
    )
    started = await asyncio.gather(*(role(name, settings) for name in ROLES))
    bucket = Influx(settings)
    try:
        await bucket.has(3, "load1")
    finally:
        await asyncio.to_thread(bucket.drop)

    async with TwinReplica(settings) as twin:
        await twin.ready(timeout=30)
        assert "node" in {kind for kind, _ in twin}
        assert '"entities"' in (await started[-1].get("/twin/v1/state"))[1]
    code, out, err = await roles.run(["check"], settings)
    assert code == 0, out + err
    for secret in (services["kafka"]["sasl_ssl"]["password"], influx["history_token"]):
        assert secret not in out + err
        assert all(secret not in each.log.read_text() for each in started)


@pytest.mark.parametrize("name", [*ROLES, "check"])
async def test_wrong_password_ends_a_role_with_a_clear_error(
    make_settings: MakeSettings, influx: dict[str, Any], sasl_ssl: dict[str, Any], name: str
) -> None:
    settings = await _changed(make_settings, sasl_ssl | influx, kafka_sasl_password=SecretStr(WRONG))

    code, out, err = await roles.run([name], settings, more={"TWIN_PROMETHEUS_URLS": "http://127.0.0.1:9"})

    assert code == (1 if name == "check" else 2), err
    assert "TWIN_KAFKA_SASL_USERNAME and its companions" in out + err
    assert "Invalid username or password" in out + err
    assert "Traceback" not in out + err
    assert WRONG not in out + err


async def test_certificate_of_an_unknown_authority_is_refused(
    make_settings: MakeSettings, sasl_ssl: dict[str, Any]
) -> None:
    settings = await _changed(make_settings, sasl_ssl, kafka_ca_file=None)

    with pytest.raises(SettingsError, match=r"TWIN_KAFKA_CA_FILE: .*unable to get local issuer certificate"):
        await check_topics(settings)


async def _changed(make_settings: MakeSettings, fields: dict[str, Any], **changes: Any) -> Settings:
    """Settings whose topics were created with what is right, and of which something is wrong then."""
    settings = await make_settings(**fields)
    return settings.model_copy(update=changes)
