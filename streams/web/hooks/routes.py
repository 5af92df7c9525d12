"""Routes of /twin/v1/subscriptions."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response

from streams.web.access.access import Access
from streams.web.access.audit import note_touched
from streams.web.access.principal import principal_of
from streams.web.access.require import check_scope, require
from streams.web.filters import make_filter
from streams.web.hooks.desk import HookDesk
from streams.web.hooks.hosts import SETTING, HostList, read_url
from streams.web.hooks.models import Subscribe, SubscriptionAnswer, SubscriptionsAnswer
from streams.web.hooks.runner import Runner
from streams.web.live import world_view
from streams.web.models import Problem
from streams.web.problems import ProblemError, invalid
from streams.web.state import ERRORS, check_kind

router = APIRouter(
    prefix="/twin/v1/subscriptions",
    tags=["webhooks"],
    responses=ERRORS,
    dependencies=[Depends(require("events"))],
)

Id = Annotated[str, Path(description="As the answer to POST says it", max_length=64)]


@router.post(
    "",
    status_code=201,
    response_model=SubscriptionAnswer,
    responses={409: {"model": Problem, "description": "There are too many"}},
    summary="Subscribe a webhook",
)
async def post_subscription(request: Request, response: Response, asked: Subscribe) -> SubscriptionAnswer:
    """Have what changes from now on posted to a URL, signed, as docs/webhooks.md says.

    Needs the scope `read`, too; what is delivered has only worlds and kinds that the key sees.
    """
    who = principal_of(request)
    check_scope(who, "read")
    url = _checked_url(request, asked.url)
    view = world_view(request, asked.world)
    for kind in asked.kind:
        check_kind(view, kind, "kind")
    make_filter(asked.kind, asked.id, asked.where, asked.q, who.kinds)
    answer = await _desk(request).add(asked, url, who)
    note_touched(request, [asked.world], asked.kind, subscription=answer.id)
    response.headers["Location"] = f"{router.prefix}/{answer.id}"
    return answer


@router.get("", response_model=SubscriptionsAnswer, summary="Subscriptions and how their deliveries go")
async def get_subscriptions(request: Request) -> dict[str, Any]:
    """Those of this key that this process has; of all keys for who has the scope `admin`, too."""
    desk = _desk(request)
    found = [desk.show(runner) for runner in desk.of(principal_of(request))]
    return {"durable": desk.is_durable, "subscriptions": found}


@router.get("/{id}", response_model=SubscriptionAnswer, summary="One subscription")
async def get_subscription(request: Request, id: Id) -> SubscriptionAnswer:
    """What it wants, and how its deliveries go; never its secret."""
    return _desk(request).show(_found(request, id))


@router.delete("/{id}", status_code=204, summary="End a subscription")
async def delete_subscription(request: Request, id: Id) -> None:
    """Nothing more is delivered, what is under way included."""
    await _desk(request).remove(_found(request, id))


def _checked_url(request: Request, text: str) -> str:
    access: Access = request.app.state.access
    hosts = HostList(access.config.webhook_hosts)
    if hosts.is_empty:
        raise ProblemError(403, "webhooks-off", f"no webhooks are sent: {SETTING} names no host")
    try:
        url = read_url(text)
    except ValueError as error:
        raise invalid("url", str(error)) from None
    if not hosts.may_send_to(url.raw_host or ""):
        raise ProblemError(403, "host-not-allowed", f"{url.host!r} is not in {SETTING}", field="url")
    return str(url)


def _found(request: Request, id: str) -> Runner:
    for runner in _desk(request).of(principal_of(request)):
        if runner.subscription.id == id:
            return runner
    raise ProblemError(
        404, "unknown-subscription", f"{principal_of(request).name} has no subscription {id!r}"
    )


def _desk(request: Request) -> HookDesk:
    desk: HookDesk = request.app.state.hooks
    return desk
