"""Access tokens over HTTP (RFC 6749), and the public keys that verify them (RFC 7517)."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from pydantic import BaseModel, Field

from apps.gateway.deps import Deps, address
from apps.gateway.errors import OAuthRefusal
from apps.gateway.http.addresses import address_key
from apps.gateway.http.openapi import responses, success
from contracts.errors import ErrorKind
from contracts.keys import JsonWebKeySet
from contracts.sessions import Authenticate
from contracts.users import canonical_email
from kit.errors import RemoteProblem

router = APIRouter(tags=["auth"])

_MAX_LENGTH = 1024


class TokenAnswer(BaseModel):
    """An access token (RFC 6749, 5.1)."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the name of a scheme
    expires_in: int = Field(description="Seconds.")
    refresh_token: str | None = None


@router.post(
    "/auth/token",
    response_model_exclude_none=True,
    responses=responses(400, also={200: success("An access token.", "Cache-Control")}),
)
async def issue_token(
    request: Request,
    deps: Deps,
    response: Response,
    grant_type: Annotated[str | None, Form(max_length=_MAX_LENGTH, description="password")] = None,
    username: Annotated[str | None, Form(max_length=_MAX_LENGTH, description="The email.")] = None,
    password: Annotated[str | None, Form(max_length=_MAX_LENGTH)] = None,
) -> TokenAnswer:
    """Exchange an email and a password for an access token."""
    client = address(request)
    await deps.rate_limits.hit("token", address_key(client), response.headers)
    response.headers["Cache-Control"] = "no-store"
    if grant_type is None:
        raise OAuthRefusal("invalid_request", "grant_type is missing.")
    if grant_type != "password":
        raise OAuthRefusal("unsupported_grant_type", "The only grant_type is password.")
    if username is None or password is None:
        raise OAuthRefusal("invalid_request", "username and password are required.")
    if "\0" in username:
        raise _invalid_grant()
    try:
        async with deps.guesses.attempt(f"email/{canonical_email(username)}", client):
            tokens = await deps.request(Authenticate(email=username, password=password))
    except RemoteProblem as error:
        if error.kind is not ErrorKind.UNAUTHENTICATED:
            raise
        raise _invalid_grant() from error
    await deps.guesses.remember(f"user/{tokens.user_id}", client)
    return TokenAnswer(
        access_token=tokens.access_token, expires_in=tokens.expires_in, refresh_token=tokens.refresh_token
    )


@router.get("/.well-known/jwks.json", responses=responses(also={200: success("The keys.", "Cache-Control")}))
async def get_keys(deps: Deps, response: Response) -> JsonWebKeySet:
    """Return the public keys that verify access tokens."""
    response.headers["Cache-Control"] = "public, max-age=300"
    return await deps.verifier.keys()


def _invalid_grant() -> OAuthRefusal:
    return OAuthRefusal("invalid_grant", "The email or the password is wrong.")
