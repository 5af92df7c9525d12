"""The section `access` of the configuration file: keys, OIDC, and what is allowed without them."""

import hashlib
from datetime import UTC, date, datetime
from ipaddress import ip_address
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from yarl import URL

from streams.config import misspelt, place_of, read_sections
from streams.errors import SettingsError
from streams.settings import Settings
from streams.web.access.principal import ALL, Scope

INTERNAL = "internal"
"""Name of the key in TWIN_INTERNAL_API_KEY."""

RESERVED = (INTERNAL, "anonymous", "local")
"""Names that the audit log has for others."""

LOOPBACK_NAMES = ("localhost", "localhost.localdomain", "ip6-localhost")
"""Names that mean this machine, wherever they are looked up."""


def is_loopback(host: str) -> bool:
    """Whether an address, or a name, is this machine's own and reached from nowhere else."""
    host = host.strip("[]").rstrip(".").lower()
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host in LOOPBACK_NAMES or host.endswith(".localhost")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


Pattern = Annotated[str, Field(min_length=1, max_length=200)]
"""Names, as of files: `live~*`."""


class KeyConfig(_Part):
    """One key: what is kept of it, and what it opens."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    sha256: str = Field(pattern=r"^[0-9A-Fa-f]{64}$")
    scopes: list[Scope] = Field(min_length=1)
    worlds: list[Pattern] = Field(default_factory=lambda: [ALL], min_length=1)
    kinds: list[Pattern] = Field(default_factory=lambda: [ALL], min_length=1)
    expires: datetime | date | None = None

    @property
    def expires_s(self) -> float | None:
        """[s since the epoch] From when the key opens nothing; a day begins at midnight UTC."""
        if self.expires is None:
            return None
        if not isinstance(self.expires, datetime):
            return datetime(self.expires.year, self.expires.month, self.expires.day, tzinfo=UTC).timestamp()
        moment = self.expires
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def check_issuer(url: str) -> str:
    """The URL of an issuer; ValueError unless it is https, or on this machine."""
    try:
        parts = URL(url)
    except ValueError:
        raise ValueError("is not a URL") from None
    if not parts.host or parts.query_string or parts.fragment or parts.user or parts.password:
        raise ValueError(
            "must be a URL such as https://id.example.org/realms/twin, with nothing behind the path"
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.host)):
        raise ValueError("must begin with https://: whoever can change the issuer's answers is let in")
    return url


class OidcConfig(_Part):
    """An issuer whose tokens are taken."""

    issuer: Annotated[str, AfterValidator(check_issuer)]
    audience: str = Field(min_length=1)
    scope_claim: str = Field("scope", min_length=1)
    scope_prefix: str = "twin:"


class RateConfig(_Part):
    """How many requests somebody may send: for each key, or for each address of those without."""

    per_s: float = Field(50.0, gt=0, le=1_000_000)
    burst: int = Field(200, ge=1, le=1_000_000)


class AccessConfig(_Part):
    """The whole section, with the key of TWIN_INTERNAL_API_KEY."""

    anonymous: list[Scope] = Field(default_factory=list)
    keys: list[KeyConfig] = Field(default_factory=list)
    oidc: OidcConfig | None = None
    rate: RateConfig | None = None
    webhook_hosts: list[Pattern] = Field(default_factory=list)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [key.name for key in self.keys]
        hashes = [key.sha256.lower() for key in self.keys]
        for name in names:
            if name in RESERVED:
                raise ValueError(f"keys: the name {name} is taken: choose another")
            if names.count(name) > 1:
                raise ValueError(f"keys: two have the name {name}: the audit log could not tell them apart")
        for name, text in zip(names, hashes, strict=True):
            if hashes.count(text) > 1:
                raise ValueError(f"keys: {name} has the sha256 of another: make each with `twin key`")
        return self

    @property
    def is_open(self) -> bool:
        """Whether nobody has to show anything: then only this machine is served."""
        return not self.keys and self.oidc is None


def load_access(settings: Settings) -> AccessConfig:
    """The section in TWIN_CONFIG, and TWIN_INTERNAL_API_KEY as one more key.

    Raises:
        SettingsError: naming all faults by their place, never with a key.
    """
    path = settings.config
    content = read_sections(path)
    faults = list(misspelt(path, content))
    config = AccessConfig()
    try:
        config = AccessConfig.model_validate(content.get("access") or {})
    except ValidationError as error:
        faults += [f"{path}: {_place(fault)}: {_text(fault)}" for fault in error.errors()]
    secret = settings.api_key
    if secret is not None and not faults:
        text = secret.get_secret_value()
        if not text or not text.isascii() or not text.isprintable() or text != text.strip():
            faults.append("TWIN_INTERNAL_API_KEY: no header can hold it: `openssl rand -hex 32` makes one")
        config.keys.append(internal_key(text))
    if config.anonymous and config.is_open:
        faults.append(
            f"{path}: access.anonymous: nobody has a key, so all may do all: add one with `twin key`"
        )
    if faults:
        raise SettingsError(faults)
    return config


def internal_key(text: str) -> KeyConfig:
    """The key of DECICE's programs."""
    return KeyConfig(name=INTERNAL, sha256=hash_of(text), scopes=["read", "events"])


def hash_of(key: str) -> str:
    """What is kept of a key. Without salt or stretching, as keys are random: there is nothing to guess."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def _place(fault: Any) -> str:
    return place_of(("access", *(part for part in fault["loc"] if part not in ("datetime", "date"))))


def _text(fault: Any) -> str:
    match fault["type"]:
        case "extra_forbidden":
            return "is no setting of access"
        case "string_pattern_mismatch" if fault["loc"][-1] == "sha256":
            return "must be 64 hexadecimal digits: `twin key` prints them"
    return str(fault["msg"]).removeprefix("Value error, ")
