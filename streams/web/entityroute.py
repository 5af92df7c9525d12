"""Routes below an entity, such as /entities/{kind}/{id}/history: where its id ends."""

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope


class EntityRoute(APIRoute):
    """A route below an entity, whose id may itself end as the route does: with its slash encoded."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the last part of the path is the route's, and not the id's."""
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        if raw_path.split(b"?")[0].rpartition(b"/")[2] != self.path.rpartition("/")[2].encode():
            return Match.NONE, {}
        return super().matches(scope)
