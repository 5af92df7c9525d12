"""GET and POST /twin/v1/documents/{appendix-a,decice-v2}: the twin in the formats of others."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from streams.domain.appendix_a import document_of as appendix_a_of
from streams.domain.decice_fields import Fields
from streams.encoding import encode_json
from streams.rulebook import RuleBook
from streams.web.access.principal import principal_of
from streams.web.access.require import check_sees_all, require
from streams.web.decice import POSTED, WHOLE, get_twin_v2, post_twin
from streams.web.moment import view_at
from streams.web.openapi import DOCUMENTS, gives, merged, ref, takes
from streams.web.posting import ImportQuery, take_document
from streams.web.state import ERRORS, MomentQuery

router = APIRouter(prefix="/twin/v1/documents", tags=["twin"], responses=ERRORS)

KINDS = ("nodepool", "node", "link", "job")
"""Kinds of entities that Appendix A has."""

EXAMPLE = {
    "lastUpdated": "2026-11-24 03:12:00",
    "nodepools": [
        {"nodepool": {"id": "1", "nodes": [{"node": {"id": "ws01", "metrics": {"cpu-usage-percent": 31.5}}}]}}
    ],
}
"""A document of it."""


@router.get(
    "/appendix-a",
    response_model=None,
    dependencies=[Depends(require("read"))],
    summary="The twin as D2.2, Appendix A",
    openapi_extra=gives(ref(DOCUMENTS["appendix-a"]), "The document"),
)
async def get_appendix_a(request: Request, query: Annotated[MomentQuery, Query()]) -> Response:
    """The twin as a document of D2.2, Appendix A; what that format has no place for is not in it."""
    check_sees_all(principal_of(request), "a document of Appendix A", worlds=False)
    view = await view_at(request, query.world, query.at)
    rulebook: RuleBook = request.app.state.rulebook
    views = (entity for kind in KINDS for entity in view.entities(kind))
    document = appendix_a_of(views, Fields(rulebook.catalogue, "MiB"))
    return Response(encode_json(document), media_type="application/json")


@router.post(
    "/appendix-a",
    status_code=201,
    response_model=None,
    dependencies=[Depends(require("events"))],
    summary="Post a document of Appendix A",
    openapi_extra=merged(
        takes("appendix-a", {"snapshot": EXAMPLE}), gives({"const": 201}, "It was taken", 201)
    ),
)
async def post_appendix_a(request: Request, query: Annotated[ImportQuery, Query()]) -> Response:
    """Take a document of Appendix A: its values become import events at the time `lastUpdated` (UTC)."""
    return await take_document(request, "appendix-a", query)


router.add_api_route(
    "/decice-v2",
    get_twin_v2,
    methods=["GET"],
    response_model=None,
    dependencies=[Depends(require("read"))],
    summary="The twin as DECICE has it",
    openapi_extra=WHOLE,
)
router.add_api_route(
    "/decice-v2",
    post_twin,
    methods=["POST"],
    status_code=201,
    response_model=None,
    dependencies=[Depends(require("events"))],
    summary="Post a snapshot as DECICE has it",
    openapi_extra=POSTED,
)
