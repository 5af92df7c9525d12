"""A subscription: as it is asked for, kept, and shown."""

from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, SecretStr

from streams.web.access.principal import Principal, Scope, Way
from streams.web.hooks.delivery import Outcome
from streams.web.models import Model

REFUSALS = 3
"""[1] Answers in a row that say no, after which nothing more is sent."""

GIVE_UP_MS = 24 * 3_600_000
"""[ms] For which a webhook that cannot be reached is tried."""

Name = Annotated[str, Field(min_length=1, max_length=200)]


def check_secret(secret: SecretStr) -> SecretStr:
    """A secret that has bytes; ValueError for half a surrogate pair, which pydantic lets pass in secrets."""
    try:
        secret.get_secret_value().encode()
    except UnicodeEncodeError:
        raise ValueError("is no text") from None
    return secret


Secret = Annotated[SecretStr, AfterValidator(check_secret)]


class Wanted(Model):
    """What is wanted of a world; all filters that are given must match."""

    world: str = Field("live", description="Name of the world", max_length=200)
    kind: list[Name] = Field([], description="One of these kinds", max_length=20)
    id: list[Name] = Field([], description="One of these ids", max_length=1_000)
    where: str = Field(
        "", description="Terms as of GET /twin/v1/state", examples=["status!=up"], max_length=2_000
    )
    q: str = Field("", description="Text, as of GET /twin/v1/rows", max_length=200)
    fields: list[Name] = Field([], description="Of entities only these values", max_length=100)
    events: list[Literal["entity", "gone"]] = Field(
        ["entity", "gone"], description="Which changes are told", min_length=1, max_length=2
    )


class Subscribe(Wanted):
    """Asks for a subscription."""

    model_config = ConfigDict(
        hide_input_in_errors=True,
        json_schema_extra={
            "example": {
                "url": "https://hooks.example.org/twin",
                "kind": ["node"],
                "where": "status!=up",
                "secret": "correct horse battery",
            }
        },
    )

    url: str = Field(description="http or https; its host stands in access.webhook_hosts", max_length=2_000)
    secret: Secret = Field(
        description="Deliveries are signed with it; is never shown again", min_length=8, max_length=256
    )

    @property
    def wanted(self) -> Wanted:
        """What is wanted, alone."""
        return Wanted(**{name: getattr(self, name) for name in Wanted.model_fields})


class Owner(Model):
    """Who subscribed, and what they saw then."""

    name: str
    way: Way
    scopes: list[Scope]
    worlds: list[str]
    kinds: list[str]

    @property
    def principal(self) -> Principal:
        """The same as whoever asks."""
        return Principal(self.name, frozenset(self.scopes), tuple(self.worlds), tuple(self.kinds), self.way)


class Progress(Model):
    """What became of the deliveries; all up to `position` was told."""

    position: str
    sequence: int = 0
    delivered: int = 0
    failed: int = 0
    failures: int = 0
    refusals: int = 0
    failing_since_ms: int | None = None
    last_ms: int | None = None
    last_status: int | None = None
    last_error: str | None = None
    disabled: str | None = None

    def note(self, outcome: Outcome, now_ms: int) -> None:
        """Take notice of an attempt."""
        self.last_ms, self.last_status, self.last_error = now_ms, outcome.status, outcome.error
        if outcome.error is None:
            self.delivered += 1
            self.failures = self.refusals = 0
            self.failing_since_ms = None
            return
        self.failed += 1
        self.failures += 1
        self.refusals = self.refusals + 1 if outcome.is_refusal else 0
        self.failing_since_ms = self.failing_since_ms or now_ms
        if self.refusals >= REFUSALS:
            self.disabled = f"refused: {outcome.error} {REFUSALS} times in a row"
        elif now_ms - self.failing_since_ms >= GIVE_UP_MS:
            self.disabled = f"unreachable: for 24 hours, the last time: {outcome.error}"


class Subscription(Model):
    """All that is kept of one."""

    model_config = ConfigDict(hide_input_in_errors=True)

    id: str
    url: str
    secret: SecretStr
    wanted: Wanted
    owner: Owner
    created_ms: int
    progress: Progress


class DeliveryState(Model):
    """How its deliveries go."""

    delivered: int = Field(description="Deliveries that were taken")
    failed: int = Field(description="Attempts that were not")
    last_ms: int | None = Field(description="[ms since the epoch, UTC] Time of the last attempt")
    last_status: int | None = Field(description="Its HTTP status; null: there was no answer")
    last_error: str | None = Field(description="What went wrong; null: nothing")
    pending: int = Field(description="Changes in the delivery that is under way; more may wait in the twin")
    next_try_ms: int | None = Field(description="[ms since the epoch, UTC] When it is tried again")
    position: str = Field(description="All before it was delivered; as the ids of the stream")


class SubscriptionAnswer(Model):
    """A subscription, without its secret."""

    id: str
    url: str
    owner: str = Field(description="Who subscribed")
    created_ms: int = Field(description="[ms since the epoch, UTC]")
    durable: bool = Field(
        description="It survives a restart of this twin web: TWIN_SUBSCRIPTIONS_FILE is set"
    )
    state: Literal["active", "failing", "disabled"]
    reason: str = Field(description="Why it is disabled, for ever")
    wanted: Wanted
    delivery: DeliveryState


class SubscriptionsAnswer(Model):
    """Those of who asks."""

    durable: bool
    subscriptions: list[SubscriptionAnswer]
