"""The public keys that verify access tokens (RFC 7517)."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Response

from apps.gateway.deps import Deps
from apps.gateway.http import etags
from apps.gateway.http.openapi import responses, success
from contracts.keys import JsonWebKeySet

router = APIRouter(tags=["sessions"])

_CACHE_SECONDS = 240
"""Below `public_keys.MAX_AGE` and `KEY_CACHE_SECONDS`: a client's copy is never older than a gateway's."""

_RESPONSES = responses(
    also={
        200: success("The keys.", "ETag", "Cache-Control"),
        304: success("The keys have not changed.", "ETag", "Cache-Control"),
    }
)
IfNoneMatch = Annotated[str | None, Header(description="Return the keys only if their ETag is another one (RFC 9110).")]


@router.get("/.well-known/jwks.json", response_model=JsonWebKeySet, responses=_RESPONSES)
async def get_keys(deps: Deps, response: Response, if_none_match: IfNoneMatch = None) -> JsonWebKeySet | Response:
    """Return the public keys that verify access tokens, also the one that signs next."""
    keys, etag = await deps.public_keys.current()
    headers = {"ETag": etag, "Cache-Control": f"public, max-age={_CACHE_SECONDS}"}
    if etags.names(if_none_match, etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    response.headers.update(headers)
    return keys
