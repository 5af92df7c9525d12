"""The sections `sources` and `rule_packs` of the configuration file."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from yarl import URL

from streams.collect.target import Caps
from streams.config import misspelt, place_of, read_sections
from streams.domain.aggregate import SOURCE
from streams.errors import SettingsError
from streams.rulebook import RuleBook, load_rulebook
from streams.settings import Settings

PROMETHEUS_PACKS = ("node_exporter", "decice", "kube_state_metrics", "slurm", "dcgm", "power")
"""Packs that TWIN_PROMETHEUS_URLS is asked for; those of which a server has nothing make no record."""

SECTIONS = ("sources", "rule_packs")
"""Sections that are read here; others belong to other roles."""


def check_url(url: str) -> str:
    """The URL; ValueError, without what may be secret in it, when it is none of http or https."""
    try:
        parts = URL(url)
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.host:
        raise ValueError("must be a URL that begins with http:// or https:// and names a host")
    return url


Url = Annotated[str, AfterValidator(check_url)]
"""An address that can be asked."""


class CapsConfig(BaseModel):
    """What one scrape of a target may hold."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    body_bytes: int = Field(default=Caps.body_bytes, ge=1_000, le=1_000_000_000)
    samples: int = Field(default=Caps.samples, ge=1, le=5_000_000)
    labels: int = Field(default=Caps.labels, ge=1, le=1_000)
    series_bytes: int = Field(default=Caps.series_bytes, ge=64, le=65_536)


class SourceConfig(BaseModel):
    """What all kinds of sources have."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    kind: str
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,100}$")
    pack: str | None = None
    packs: list[str] = Field(default_factory=list)
    interval_s: float | None = Field(default=None, ge=0, le=86_400)
    timeout_s: float | None = Field(default=None, gt=0, le=3_600)
    caps: CapsConfig = Field(default_factory=CapsConfig)

    @model_validator(mode="after")
    def _packs_are_whole(self) -> Self:
        if self.pack and self.packs:
            raise ValueError("give pack or packs, not both")
        if self.name and len(self.packs) > 1:
            raise ValueError("each pack is a source of its own, and name can name only one: list them apart")
        if self.name == SOURCE:
            raise ValueError(f"name: {SOURCE!r} is the twin itself; give another name")
        if self.timeout_s and self.interval_s and self.timeout_s > self.interval_s:
            raise ValueError("timeout_s is longer than interval_s")
        return self

    @property
    def pack_names(self) -> list[str]:
        """Packs of the source; its kind is the last resort."""
        return [self.pack] if self.pack else self.packs or [self.kind]


class HttpSourceConfig(SourceConfig):
    """What sources with a URL have."""

    url: Url | None = None
    urls: list[Url] = Field(default_factory=list)
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    bearer_token_file: Path | None = None
    ca_file: Path | None = None
    simulated: bool = False

    @field_validator("headers")
    @classmethod
    def _headers_are_headers(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, secret in value.items():
            if not name or not all(letter.isalnum() or letter in "-_" for letter in name):
                raise ValueError(f"{name!r} is no name of a header")
            if any(letter in secret.get_secret_value() for letter in "\r\n\0"):
                raise ValueError(f"the value of {name} has a line break")
        return value

    @model_validator(mode="after")
    def _has_urls(self) -> Self:
        if bool(self.url) == bool(self.urls):
            raise ValueError("give url or urls" + (", not both" if self.url else ""))
        return self


class PrometheusConfig(HttpSourceConfig):
    """Prometheus servers, or what speaks their HTTP API."""

    kind: Literal["prometheus"]

    @property
    def pack_names(self) -> list[str]:
        """Packs that the server is asked for; all that ship with the twin when none is named."""
        return [self.pack] if self.pack else self.packs or list(PROMETHEUS_PACKS)


class PackedConfig(HttpSourceConfig):
    """An exporter, or an API: the pack must be named."""

    kind: Literal["exposition", "json"]

    @model_validator(mode="after")
    def _has_pack(self) -> Self:
        if not self.pack and not self.packs:
            raise ValueError("give pack: the rule pack that maps what the source says")
        return self


class HostConfig(SourceConfig):
    """This machine."""

    kind: Literal["host"]


class DemoConfig(SourceConfig):
    """The recorded testbed."""

    kind: Literal["demo"]
    name: str | None = "demo"
    pack: str | None = "decice_v2"


class CollectConfig(BaseModel):
    """Both sections."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    sources: list[
        Annotated[PrometheusConfig | PackedConfig | HostConfig | DemoConfig, Field(discriminator="kind")]
    ] = Field(default_factory=list)
    rule_packs: list[Path] = Field(default_factory=list)


def load_config(path: Path | None) -> CollectConfig:
    """The sections in a file; relative paths in it count from its folder. No file: nothing.

    Raises:
        SettingsError: the file cannot be read, or naming all faults in it by their place.
    """
    content = read_sections(path)
    faults = list(misspelt(path, content))
    try:
        config = CollectConfig.model_validate({name: content.get(name) or [] for name in SECTIONS})
    except ValidationError as error:
        faults += [f"{path}: {_place(fault['loc'])}: {_text(fault)}" for fault in error.errors()]
    if faults:
        raise SettingsError(faults)
    folder = path.parent if path else Path()
    config.rule_packs = [folder / pack for pack in config.rule_packs]
    for source in config.sources:
        if isinstance(source, HttpSourceConfig):
            source.ca_file = source.ca_file and folder / source.ca_file
            source.bearer_token_file = source.bearer_token_file and folder / source.bearer_token_file
    return config


def rulebook_of(settings: Settings) -> RuleBook:
    """The rules that come with the twin, and those that the configuration file names.

    Raises:
        SettingsError: the file cannot be used.
        InvalidRuleError: a rule cannot.
    """
    return load_rulebook(load_config(settings.config).rule_packs)


def _place(location: tuple[int | str, ...]) -> str:
    # Pydantic puts the kind behind the number of a source; in the file there is no such level.
    parts = [part for place, part in enumerate(location) if not (place == 2 and location[0] == "sources")]
    return place_of(parts)


def _text(fault: Any) -> str:
    match fault["type"]:
        case "union_tag_invalid":
            return f"kind {fault['ctx']['tag']!r} is unknown; known: {fault['ctx']['expected_tags']}"
        case "union_tag_not_found":
            return "give kind: prometheus, exposition, json, host or demo"
        case "extra_forbidden":
            return "is no setting of this kind of source"
    return str(fault["msg"]).removeprefix("Value error, ")
