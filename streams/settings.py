"""Settings from TWIN_* environment variables: the only reader of the environment."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streams.errors import SettingsError


class Settings(BaseSettings):
    """All settings of all roles; each is the environment variable TWIN_<FIELD>."""

    model_config = SettingsConfigDict(
        env_prefix="TWIN_", frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    config: Path | None = Field(None, description="YAML file with sources, rule packs and access rules")

    kafka_bootstrap_servers: str | None = Field(
        None, description="host:port list; unset: embedded, in `twin up` only"
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to speak to Kafka"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "PLAIN", description="SASL mechanism"
    )
    kafka_sasl_username: str | None = Field(None, description="SASL user")
    kafka_sasl_password: SecretStr | None = Field(None, description="SASL password")
    kafka_sasl_password_file: Path | None = Field(None, description="file with the SASL password")
    kafka_ca_file: Path | None = Field(None, description="CA certificates (PEM) of the brokers")
    kafka_cert_file: Path | None = Field(None, description="client certificate (PEM) for mutual TLS")
    kafka_key_file: Path | None = Field(None, description="key (PEM) of the client certificate")
    kafka_replication: int = Field(1, ge=1, le=7, description="copies of each topic that is created")
    kafka_session_timeout_ms: int = Field(
        10_000, ge=1_000, le=300_000, description="[ms] after which a silent worker loses its partitions"
    )
    kafka_max_poll_interval_ms: int = Field(
        300_000, ge=5_000, description="[ms] after which a worker that does not poll leaves the group"
    )

    topic_prefix: str = Field(
        "twin", pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,100}$", description="first part of topic names"
    )
    partitions: int = Field(12, ge=1, le=1_000, description="partitions of every topic; fixed for a prefix")
    schema_registry_url: str | None = Field(None, description="Confluent-compatible schema registry")

    step_ms: int = Field(5_000, ge=100, le=3_600_000, description="[ms] distance of ticks")
    remove_after_s: float = Field(
        3_600.0, gt=0, description="[s] after which an entity that no source mentions is removed"
    )

    prometheus_urls: str = Field(
        "", description="comma-separated Prometheus servers, for those who need no YAML"
    )
    scrape_interval_s: float = Field(
        5.0, ge=0, le=86_400, description="[s] between scrapes of a target; 0 = only on cue"
    )
    shard: str = Field(
        "1/1", pattern=r"^[1-9]\d{0,3}/[1-9]\d{0,3}$", description="i/n: the targets of this collector"
    )

    history_url: str | None = Field(
        None,
        description="influxdb+http://host:8086/<org>/<bucket>, duckdb:///path, victoriametrics+http://host:8428,"
        " kairosdb+http://host:8080 or prometheus+http://host:9090",
    )
    history_token: SecretStr | None = Field(None, description="token of the history store")
    history_token_file: Path | None = Field(None, description="file with the token of the history store")
    history_ca_file: Path | None = Field(None, description="CA certificates (PEM) of the history store")
    history_retention_d: float = Field(7.0, ge=0, description="[d] kept at full resolution; 0 = for ever")
    history_downsampled_retention_d: float = Field(
        365.0, ge=0, description="[d] kept at 5 minutes; 0 = for ever"
    )

    influx_decice_compat: bool = Field(
        False, description="InfluxDB also gets the measurements that DECICE's twin wrote, for its dashboards"
    )

    web_host: str = Field("127.0.0.1", description="address of the web role")
    web_port: int = Field(8010, ge=0, le=65_535, description="port of the web role; 0 = any free one")
    decice_mem_unit: Literal["MiB", "GB"] = Field(
        "MiB", description="unit of mem_total in DECICE documents; GB for schedulers that multiply by 1024"
    )
    internal_api_key: SecretStr | None = Field(
        None, description="one key of the API, with the scopes read and events, as DECICE's programs share it"
    )
    internal_api_key_file: Path | None = Field(None, description="file with that key")
    max_age_s: float = Field(
        60.0, gt=0, description="[s] POST /pool answers 503 when the state is older than this"
    )
    subscriptions_file: Path | None = Field(
        None, description="file that keeps the webhooks of this web role; unset: a restart forgets them"
    )
    metrics_host: str = Field("127.0.0.1", description="address of /metrics of roles without a web server")
    metrics_port: int = Field(0, ge=0, le=65_535, description="port of it; 0 = any free one")

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="least level that is logged"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, else JSON"
    )
    embedded: bool = Field(False, description="the broker is the embedded one; set by `twin up`")

    @field_validator("kafka_bootstrap_servers")
    @classmethod
    def _bootstrap_has_ports(cls, value: str | None) -> str | None:
        for server in (value or "").split(",") if value else []:
            host, _, port = server.strip().rpartition(":")
            if not host or not port.isdigit():
                raise ValueError("must be host:port[,host:port…]")
        return value

    @field_validator("shard")
    @classmethod
    def _shard_within(cls, value: str) -> str:
        index, count = value.split("/")
        if int(index) > int(count):
            raise ValueError("must be i/n with i <= n")
        return value

    @model_validator(mode="after")
    def _sasl_is_whole(self) -> Self:
        if self.kafka_security_protocol.startswith("SASL") and not self.kafka_sasl_username:
            raise ValueError(
                "TWIN_KAFKA_SASL_USERNAME must be set when TWIN_KAFKA_SECURITY_PROTOCOL is SASL_*"
            )
        return self

    @property
    def remove_after_ms(self) -> int:
        """[ms] As `remove_after_s`."""
        return round(self.remove_after_s * 1000)

    @property
    def history_retention_ms(self) -> int:
        """[ms] As `history_retention_d`."""
        return round(self.history_retention_d * 86_400_000)

    @property
    def sasl_password(self) -> SecretStr | None:
        """The password itself or the content of its file; read when asked for."""
        return self.kafka_sasl_password or _read_secret(self.kafka_sasl_password_file)

    @property
    def api_key(self) -> SecretStr | None:
        """The key that DECICE's programs share, itself or the content of its file; read when asked for."""
        return self.internal_api_key or _read_secret(self.internal_api_key_file)

    @property
    def token(self) -> SecretStr | None:
        """The history token itself or the content of its file; read when asked for."""
        return self.history_token or _read_secret(self.history_token_file)


def load_settings(**overrides: object) -> Settings:
    """Read the environment.

    Raises:
        SettingsError: naming every wrong variable at once; never with its value, which may be a secret.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # pydantic validates
    except ValidationError as error:
        raise SettingsError(
            [
                (f"TWIN_{str(fault['loc'][0]).upper()}: " if fault["loc"] else "") + fault["msg"]
                for fault in error.errors()
            ]
        ) from None


def _read_secret(path: Path | None) -> SecretStr | None:
    if path is None:
        return None
    try:
        return SecretStr(path.read_text().strip())
    except OSError as error:
        raise SettingsError([f"{path}: cannot read the secret: {error.strerror}"]) from error
