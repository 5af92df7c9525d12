"""GET and POST /twin/v1/documents/{appendix-a,decice-v2}: the twin in the formats of others."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from streams.domain.appendix_a import document_of as appendix_a_of
from streams.domain.decice_fields import Fields
from streams.encoding import encode_json
from streams.rulebook import RuleBook
from streams.web.decice import get_twin_v2, post_twin
from streams.web.moment import view_at
from streams.web.posting import ImportQuery, take_document
from streams.web.state import ERRORS, MomentQuery

router = APIRouter(prefix="/twin/v1/documents", tags=["twin"], responses=ERRORS)

KINDS = ("nodepool", "node", "link", "job")
"""Kinds of entities that Appendix A has."""


@router.get("/appendix-a")
async def get_appendix_a(request: Request, query: Annotated[MomentQuery, Query()]) -> Response:
    """The twin as a document of D2.2, Appendix A; what that format has no place for is not in it."""
    view = await view_at(request, query.world, query.at)
    rulebook: RuleBook = request.app.state.rulebook
    views = (entity for kind in KINDS for entity in view.entities(kind))
    document = appendix_a_of(views, Fields(rulebook.catalogue, "MiB"))
    return Response(encode_json(document), media_type="application/json")


@router.post("/appendix-a", status_code=201)
async def post_appendix_a(request: Request, query: Annotated[ImportQuery, Query()]) -> Response:
    """Take a document of Appendix A: its values become import events at the time `lastUpdated` (UTC)."""
    return await take_document(request, "appendix-a", query)


router.add_api_route("/decice-v2", get_twin_v2, methods=["GET"], response_model=None)
router.add_api_route("/decice-v2", post_twin, methods=["POST"], status_code=201, response_model=None)
