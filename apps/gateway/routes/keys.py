"""The public keys that verify access tokens (RFC 7517)."""

from fastapi import APIRouter, Response

from apps.gateway.deps import Deps
from apps.gateway.http.openapi import responses, success
from contracts.keys import JsonWebKeySet

router = APIRouter(tags=["sessions"])


@router.get("/.well-known/jwks.json", responses=responses(also={200: success("The keys.", "Cache-Control")}))
async def get_keys(deps: Deps, response: Response) -> JsonWebKeySet:
    """Return the public keys that verify access tokens."""
    response.headers["Cache-Control"] = "public, max-age=300"
    return await deps.verifier.keys()
