"""Users over HTTP."""

from functools import partial
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import MISSING, BeforeValidator, Field, WithJsonSchema

from apps.gateway.deps import CurrentUser, Dependencies, Deps, address
from apps.gateway.errors import NotFound
from apps.gateway.http.etags import IfMatch, IfNoneMatch, etag, expected_version, is_known
from apps.gateway.http.openapi import responses, success
from apps.gateway.http.strict_requests import StrictRoute
from contracts.base import Cursor, IdempotencyKey, Message, PageSize
from contracts.users import (
    ChangePassword,
    CreatedUser,
    CreateUser,
    DeleteUser,
    Email,
    GivenPassword,
    ListUsers,
    Name,
    NewPassword,
    Registration,
    Role,
    UpdateUser,
    UserPage,
    UserView,
)

router = APIRouter(prefix="/users", tags=["users"], route_class=StrictRoute)

_USER_RESPONSES = responses(
    *(401, 404),
    also={
        200: success("The user.", "ETag", "Cache-Control"),
        304: success("The user has not changed.", "ETag", "Cache-Control"),
    },
)
_EMAIL_TAKEN = frozenset({"email-taken"})


UserId = Annotated[
    UUID | None,
    BeforeValidator(lambda value: None if value == "me" else value),
    WithJsonSchema({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "string", "const": "me"}]}),
    Path(description="Id of the user; `me` is the caller."),
]
"""A user in a path; None for `me`."""


class NewUser(Registration, extra="forbid", validate_by_name=False):
    """A new user."""


class UserChanges(Message, extra="forbid", validate_by_name=False):
    """Changes to a user; a field that is left out keeps its value (RFC 7396). Role and disabled are for admins."""

    name: Name | MISSING | None = MISSING
    email: Email | MISSING = MISSING
    role: Role | MISSING = MISSING
    disabled: bool | MISSING = MISSING
    current_password: Annotated[str, Field(max_length=1024)] | MISSING = Field(
        default=MISSING, repr=False, description="Needed for one's own email."
    )


class PasswordChange(Message, extra="forbid", validate_by_name=False):
    """The current and the new password."""

    current_password: GivenPassword
    new_password: NewPassword


class Deletion(Message, extra="forbid", validate_by_name=False):
    """The current password; an admin who deletes another user gives none."""

    current_password: GivenPassword


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    responses=responses(409, also={201: success("The new user.", "Location", "ETag", "Idempotent-Replayed")}),
)
async def create_user(
    body: NewUser,
    request: Request,
    deps: Deps,
    response: Response,
    idempotency_key: Annotated[
        IdempotencyKey | None,
        Header(description="One key, one user: a repetition with the same body gets the first response for 24 hours."),
    ] = None,
) -> UserView:
    """Register a user."""
    user = await _create(body, idempotency_key, request, deps)
    response.headers.update({"Location": f"/users/{user.id}", "ETag": etag(user)})
    if user.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return user


async def _create(body: NewUser, key: str | None, request: Request, deps: Dependencies) -> CreatedUser:
    fields = body.model_dump(exclude_unset=True, by_alias=False)
    if key is None:
        return await deps.request(CreateUser(**fields))
    # Who knows a key could find the password of its user otherwise: a repetition with another one is a guess.
    async with deps.guesses.attempt(f"email/{body.email}", address(request), wrong=_EMAIL_TAKEN):
        return await deps.request(CreateUser(**fields, idempotency_key=key))


@router.get("/me", response_model=UserView, responses=_USER_RESPONSES)
async def get_me(
    caller: CurrentUser, deps: Deps, response: Response, if_none_match: IfNoneMatch = None
) -> UserView | Response:
    """Return the caller."""
    return await get_user(caller.id, caller, deps, response, if_none_match)


@router.get("/{user_id}", response_model=UserView, responses=_USER_RESPONSES)
async def get_user(
    user_id: UUID, caller: CurrentUser, deps: Deps, response: Response, if_none_match: IfNoneMatch = None
) -> UserView | Response:
    """Return a user: the caller; for an admin any user."""
    user = await deps.user(user_id) if caller.may_see(user_id) else None
    if user is None:
        raise NotFound("user")
    headers = {"ETag": etag(user), "Cache-Control": "private, no-cache"}
    if is_known(user, if_none_match):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    response.headers.update(headers)
    return user


@router.get("", responses=responses(401, 403, also={200: success("A page of users.")}))
async def list_users(
    caller: CurrentUser,
    deps: Deps,
    limit: Annotated[PageSize, Query()] = 20,
    cursor: Annotated[Cursor | None, Query()] = None,
) -> UserPage:
    """Return all users, newest first; for admins."""
    caller.require_admin()
    return await deps.request(ListUsers(limit=limit, cursor=cursor))


@router.patch(
    "/{user_id}",
    responses=responses(401, 403, 404, 409, 412, also={200: success("The changed user.", "ETag")}),
)
async def update_user(
    user_id: UserId,
    body: UserChanges,
    request: Request,
    caller: CurrentUser,
    deps: Deps,
    response: Response,
    if_match: IfMatch = None,
) -> UserView:
    """Change a user: the caller; for an admin any user."""
    changes = body.model_dump(exclude_unset=True, by_alias=False)
    wanted = user_id or caller.id
    if not caller.may_see(wanted):
        raise NotFound("user")
    if changes.keys() & {"role", "disabled"}:
        caller.require_admin()
    if "email" in changes and not caller.is_admin:  # the response tells whether somebody has it
        await deps.rate_limits.hit("email_change", caller.id.hex, response.headers)
    changes |= await expected_version(if_match, partial(deps.user, wanted))
    change = UpdateUser(id=wanted, actor=caller.id, session=caller.session, **changes)
    if change.current_password is None:
        user = await deps.request(change)
    else:
        async with deps.own_password(caller, request):
            user = await deps.request(change)
    response.headers["ETag"] = etag(user)
    return user


@router.put(
    "/{user_id}/password",
    status_code=HTTPStatus.NO_CONTENT,
    responses=responses(401, 404, also={204: success("The password is changed.")}),
)
async def change_password(
    user_id: UserId, body: PasswordChange, request: Request, caller: CurrentUser, deps: Deps
) -> None:
    """Change the caller's password; every other session ends."""
    if user_id not in {None, caller.id}:
        raise NotFound("user")
    change = ChangePassword(
        id=caller.id,
        current_password=body.current_password,
        new_password=body.new_password,
        session=caller.session,
    )
    async with deps.own_password(caller, request):
        await deps.request(change)


@router.delete(
    "/{user_id}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=responses(401, 404, 409, also={204: success("The user is deleted.")}),
)
async def delete_user(
    user_id: UserId, request: Request, caller: CurrentUser, deps: Deps, body: Deletion | None = None
) -> None:
    """Delete a user: the caller, with the current password; for an admin any user. Payments stay recorded."""
    wanted = user_id or caller.id
    if not caller.may_see(wanted):
        raise NotFound("user")
    if body is None:
        await deps.request(DeleteUser(id=wanted, actor=caller.id))
        return
    async with deps.own_password(caller, request):
        await deps.request(DeleteUser(id=wanted, actor=caller.id, current_password=body.current_password))
