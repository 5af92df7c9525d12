"""What whoever subscribed may now."""

from streams.web.access.access import Access
from streams.web.access.principal import LOCAL, Principal
from streams.web.hooks.models import Owner


def current(owner: Owner, access: Access) -> Principal | None:
    """What somebody may now, by their name; None: not read, or not subscribe."""
    principal = _known(owner, access)
    is_allowed = principal is not None and principal.may("read") and principal.may("events")
    return principal if is_allowed else None


def _known(owner: Owner, access: Access) -> Principal | None:
    config = access.config
    if owner.way in ("key", "session"):
        key = access.keys.named(owner.name)
        if key is None or access.keys.is_over(key):
            return None
        return Principal(key.name, frozenset(key.scopes), tuple(key.worlds), tuple(key.kinds))
    if owner.way == "oidc":
        return owner.principal if config.oidc is not None else None
    if config.is_open:
        return LOCAL
    is_anonymous = owner.way == "anonymous"
    return Principal("anonymous", frozenset(config.anonymous), way="anonymous") if is_anonymous else None
