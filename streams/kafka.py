"""How every client of ours reaches Kafka: addresses, security, and waiting for it at start."""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, UnsupportedSaslMechanismError
from aiokafka.helpers import create_ssl_context

from streams.errors import SettingsError, TwinError
from streams.settings import Settings

REQUEST_TIMEOUT_MS = 30_000
"""[ms] Longer than a broker's restart, so that a batch in flight survives it."""


def client_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments that aiokafka's consumer, producer and admin client share.

    Raises:
        SettingsError: no broker is configured, or a certificate cannot be read.
    """
    if not settings.kafka_bootstrap_servers:
        raise SettingsError(
            [
                "TWIN_KAFKA_BOOTSTRAP_SERVERS is not set: name a broker as host:port,"
                " or use `twin up`, which brings one"
            ]
        )
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
    }
    if settings.kafka_security_protocol.endswith("SSL"):
        options["ssl_context"] = tls_context(settings)
    if settings.kafka_security_protocol.startswith("SASL"):
        password = settings.sasl_password
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_username
        options["sasl_plain_password"] = password.get_secret_value() if password else ""
    return options


@asynccontextmanager
async def or_stopped(
    stop: Callable[[], Awaitable[None]], away: Callable[[KafkaError], Exception]
) -> AsyncIterator[None]:
    """A client is started within: whatever comes of it but success stops it again.

    Args:
        stop: stops the client.
        away: what is raised for an error of Kafka's, from it.
    """
    try:
        yield
    except KafkaError as error:
        await stop()
        raise away(error) from error
    except BaseException:
        await stop()
        raise


def kafka_away(error: KafkaError) -> TwinError:
    """What people are told where a command cannot reach Kafka."""
    return TwinError(f"Kafka does not answer: {error!r}; try `twin check`")


async def check_access(settings: Settings) -> None:
    """Fail at once where Kafka refuses us, which no waiting will change; where it is away, do nothing.

    The clients log such a refusal and try for ever, or say only that they cannot connect.

    Raises:
        SettingsError: a server takes neither user nor password, or its certificate cannot be verified.
    """
    options = client_options(settings)
    for server in options.pop("bootstrap_servers").split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            connection = await create_conn(host.strip("[]"), int(port), **options)
        except (SaslAuthenticationFailed, UnsupportedSaslMechanismError) as error:
            raise SettingsError(
                [f"TWIN_KAFKA_SASL_USERNAME and its companions: Kafka at {server} refuses them: {error}"]
            ) from None
        except ssl.SSLCertVerificationError as error:
            raise SettingsError(
                [f"TWIN_KAFKA_CA_FILE: the certificate of Kafka at {server}: {error.verify_message}"]
            ) from None
        except (KafkaError, OSError, TimeoutError):
            continue
        connection.close()
        return


def tls_context(settings: Settings) -> ssl.SSLContext:
    """TLS that verifies the broker's certificate and name, with the system's CAs unless others are given."""
    try:
        context: ssl.SSLContext = create_ssl_context(
            cafile=str(settings.kafka_ca_file) if settings.kafka_ca_file else None,
            certfile=str(settings.kafka_cert_file) if settings.kafka_cert_file else None,
            keyfile=str(settings.kafka_key_file) if settings.kafka_key_file else None,
        )
    except (OSError, ssl.SSLError) as error:
        raise SettingsError([f"TWIN_KAFKA_CA_FILE or its companions: cannot be used: {error}"]) from error
    return context
