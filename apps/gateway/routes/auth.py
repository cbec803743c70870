"""Tokens over HTTP (RFC 6749), and the keys that they are checked with (RFC 7517)."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from pydantic import BaseModel, Field

from apps.gateway.deps import Gateway, address
from apps.gateway.errors import OAuthRefusal
from apps.gateway.http import rate_limits
from apps.gateway.http.openapi import answered, documented
from contracts.errors import ErrorKind
from contracts.users import Authenticate, JsonWebKeySet
from kit.errors import RemoteProblem

router = APIRouter(tags=["auth"])

_MOST = 1024


class TokenAnswer(BaseModel):
    """An access token (RFC 6749, 5.1)."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the name of a scheme
    expires_in: int = Field(description="Seconds.")
    refresh_token: str | None = None


@router.post(
    "/auth/token",
    response_model_exclude_none=True,
    responses=documented(400, also={200: answered("An access token.", "Cache-Control")}),
)
async def issue_token(
    request: Request,
    gateway: Gateway,
    response: Response,
    grant_type: Annotated[str | None, Form(max_length=_MOST, description="password")] = None,
    username: Annotated[str | None, Form(max_length=_MOST, description="The email.")] = None,
    password: Annotated[str | None, Form(max_length=_MOST)] = None,
) -> TokenAnswer:
    """Exchange an email and a password for an access token."""
    where = address(request)
    await gateway.limits.hit("token", where, response)
    response.headers["Cache-Control"] = "no-store"
    if grant_type is None:
        raise OAuthRefusal("invalid_request", "grant_type is missing.")
    if grant_type != "password":
        raise OAuthRefusal("unsupported_grant_type", "The only grant_type is password.")
    if username is None or password is None:
        raise OAuthRefusal("invalid_request", "username and password are needed.")
    account = (rate_limits.account(username), where)
    await gateway.limits.check("account", *account)
    if "\0" in username:
        raise _invalid_grant()
    try:
        tokens = await gateway.services.ask(Authenticate(email=username, password=password))
    except RemoteProblem as error:
        if error.kind is not ErrorKind.UNAUTHENTICATED:
            raise
        # Per account and address: slows a guesser without locking out the owner, who is elsewhere.
        await gateway.limits.count("account", *account)
        raise _invalid_grant() from error
    return TokenAnswer(
        access_token=tokens.access_token, expires_in=tokens.expires_in, refresh_token=tokens.refresh_token
    )


@router.get("/.well-known/jwks.json", responses=documented(also={200: answered("The keys.", "Cache-Control")}))
async def get_keys(gateway: Gateway, response: Response) -> JsonWebKeySet:
    """Show the public keys of the access tokens."""
    response.headers["Cache-Control"] = "public, max-age=300"
    return await gateway.keys.keys()


def _invalid_grant() -> OAuthRefusal:
    return OAuthRefusal("invalid_grant", "The email or the password is wrong.")
