"""Sessions over HTTP: sign-in, refresh, and their end (a first-party login, no OAuth grant; RFC 9700, 2.4)."""

from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from apps.gateway.deps import CurrentUser, Deps, address
from apps.gateway.errors import NotFound
from apps.gateway.http.openapi import responses, success
from apps.gateway.http.strict_requests import StrictRoute
from contracts.base import Message, Text
from contracts.sessions import (
    MAX_DEVICE_LENGTH,
    Authenticate,
    IssuedSession,
    ListSessions,
    RefreshSession,
    RevokeSessions,
    SessionList,
)
from contracts.users import GivenPassword, canonical_email

router = APIRouter(prefix="/auth/sessions", tags=["sessions"], route_class=StrictRoute)

_CURRENT = "current"


class Credentials(Message, extra="forbid", validate_by_name=False):
    """The email and the password of a user."""

    email: Text = Field(max_length=1024)
    password: GivenPassword


class Refresh(Message, extra="forbid", validate_by_name=False):
    """A refresh token."""

    refresh_token: str = Field(max_length=1024, repr=False)


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    responses=responses(401, also={201: success("The new session.", "Location", "Cache-Control")}),
)
async def sign_in(body: Credentials, request: Request, deps: Deps, response: Response) -> IssuedSession:
    """Sign in: begin a session. Unknown user, wrong password and disabled user get one response after one time."""
    client = address(request)
    async with deps.guesses.attempt(f"email/{canonical_email(body.email)}", client):
        session = await deps.request(
            Authenticate(email=body.email, password=body.password, device=_device(request), address=client)
        )
    await deps.guesses.remember(f"user/{session.user_id}", client)
    response.headers.update({"Location": f"/auth/sessions/{session.id}", "Cache-Control": "no-store"})
    return session


@router.post("/refresh", responses=responses(401, also={200: success("The session with new tokens.", "Cache-Control")}))
async def refresh(body: Refresh, request: Request, deps: Deps, response: Response) -> IssuedSession:
    """Exchange a refresh token for new tokens; the old one is used up."""
    response.headers["Cache-Control"] = "no-store"
    return await deps.request(
        RefreshSession(refresh_token=body.refresh_token, device=_device(request), address=address(request))
    )


@router.get("", responses=responses(401, also={200: success("The sessions.", "Cache-Control")}))
async def list_sessions(caller: CurrentUser, deps: Deps, response: Response) -> SessionList:
    """Return the caller's sessions, the most recently used first."""
    response.headers["Cache-Control"] = "no-store"
    return await deps.request(ListSessions(user_id=caller.id))


@router.delete(
    "/{session_id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=responses(401, 404, also={204: success("The session has ended.")}),
)
async def end_session(session_id: UUID | Literal["current"], caller: CurrentUser, deps: Deps) -> None:
    """End one of the caller's sessions: sign out. `current` is the one of the request."""
    wanted = caller.session if session_id == _CURRENT else session_id
    if not isinstance(wanted, UUID):
        raise NotFound("session")
    await deps.request(RevokeSessions(user_id=caller.id, session_id=wanted))


@router.delete(
    "",
    status_code=HTTPStatus.NO_CONTENT,
    responses=responses(401, also={204: success("The sessions have ended.")}),
)
async def end_sessions(
    scope: Annotated[Literal["others", "all"], Query(description="`others`: all but the one of the request.")],
    caller: CurrentUser,
    deps: Deps,
) -> None:
    """End the caller's other sessions, or all of them."""
    kept = caller.session if scope == "others" else None
    await deps.request(RevokeSessions(user_id=caller.id, except_session=kept))


def _device(request: Request) -> str:
    """Return the `User-Agent`, as text that a database can store."""
    return request.headers.get("user-agent", "").replace("\0", "")[:MAX_DEVICE_LENGTH]
