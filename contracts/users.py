"""Requests and events of the users service."""

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

import email_validator
from pydantic import AfterValidator, BeforeValidator, EmailStr, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from contracts.base import Cursor, Done, Event, IdempotencyKey, Instant, Message, Page, PageSize, Request, Text, example

_ADA = {
    "id": "0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01",
    "email": "ada@example.com",
    "name": "Ada Lovelace",
    "role": "user",
    "disabled": False,
    "version": 1,
    "createdAt": "2026-01-31T12:00:00Z",
    "updatedAt": "2026-01-31T12:00:00Z",
}

_ACTOR = "Id of the user who asks; null for the operator."
_SESSION = "The session that asks: the one that stays if the change ends sessions."


TEST_DOMAIN = ".test"
"""End of the domains that nobody owns (RFC 6761, section 6.2): for tests; the users service refuses them elsewhere."""
# The list that email-validator documents for this; its TEST_ENVIRONMENT would also accept `ada@test`.
email_validator.SPECIAL_USE_DOMAIN_NAMES[:] = [
    name for name in email_validator.SPECIAL_USE_DOMAIN_NAMES if name != TEST_DOMAIN.strip(".")
]


def _address_alone(value: object) -> object:
    """Refuse an address in angle brackets: `EmailStr` also takes `Ada <ada@example.com>`, and drops the name."""
    if isinstance(value, str) and ("<" in value or ">" in value):
        raise PydanticCustomError("value_error", "value is not a valid email address: only the address itself is one")
    return value


Email = Annotated[
    EmailStr,
    Field(
        max_length=254,
        description="Email address, case-insensitive and normalized (RFC 5321, Unicode NFC). Domains that end in "
        "`.test` are for development.",
    ),
    BeforeValidator(_address_alone),
    AfterValidator(str.lower),
]
_email: TypeAdapter[str] = TypeAdapter(Email)


def canonical_email(text: str) -> str:
    """Return the one form in which an email is stored, compared and counted; text that is not an email as it is."""
    try:
        return _email.validate_python(text)
    except ValidationError:
        return text


Name = Annotated[Text, Field(min_length=1, max_length=200)]

NewPassword = Annotated[
    str,
    Field(
        min_length=8,
        max_length=128,
        repr=False,
        description="8 to 128 characters; neither a common password nor made of the words of the user's email and name "
        "(NIST SP 800-63B).",
    ),
]

GivenPassword = Annotated[str, Field(max_length=1024, repr=False)]
"""A password to be verified: any text."""


class Role(StrEnum):
    """Role of a user."""

    USER = "user"
    ADMIN = "admin"


class UserView(Message):
    """A user without secrets."""

    model_config = example(**_ADA)

    id: UUID
    email: str
    name: str | None
    role: Role
    disabled: bool
    version: int = Field(description="Increases by one with each change; the first is 1.")
    created_at: Instant
    updated_at: Instant


class UserList(Message):
    """The requested users that exist, in any order."""

    model_config = example(users=[_ADA])

    users: tuple[UserView, ...]


class UserPage(Page[UserView]):
    """A page of users, newest first."""

    model_config = example(data=[_ADA], hasMore=True, nextCursor="AAZJrdRJMAABmMXIfB56Up07Tx6KaywB")


class Registration(Message):
    """Email, password and name of a new user."""

    model_config = example(email="ada@example.com", password="correct horse battery", name="Ada Lovelace")

    email: Email
    password: NewPassword
    name: Name | None = None


class CreatedUser(UserView):
    """A new user, as it was when it was created."""

    model_config = example(**_ADA, replayed=False)

    replayed: bool = Field(False, description="Whether the same request with the same key has created it before.")


class CreateUser(Registration, Request[CreatedUser]):
    """Create a user with the default role; the email must be unused and the password not a common one."""

    model_config = example(
        email="ada@example.com", password="correct horse battery", name="Ada Lovelace", idempotencyKey="sign-up-1001"
    )
    subject: ClassVar[str] = "users.create"

    idempotency_key: IdempotencyKey | None = Field(
        None, description="With it, and the same password, a repetition gets the first reply again for 24 hours."
    )


class GetUsers(Request[UserList]):
    """Return the users with these ids, in any order; unknown ids are left out."""

    model_config = example(ids=[_ADA["id"]])
    subject: ClassVar[str] = "users.get_many"

    ids: tuple[UUID, ...] = Field(max_length=1000)


class ListUsers(Request[UserPage]):
    """List users, newest first, or only the one with an email."""

    model_config = example(limit=20)
    subject: ClassVar[str] = "users.list"

    limit: PageSize = 20
    cursor: Cursor | None = None
    email: Email | None = None


class UpdateUser(Request[UserView]):
    """Change the given fields of a user; with `expectedVersion` only if the user still has that version."""

    model_config = example(id=_ADA["id"], expectedVersion=1, name="Countess of Lovelace")
    subject: ClassVar[str] = "users.update"

    id: UUID
    expected_version: int | None = Field(
        None, description="Refused with `version-mismatch` if the user has another version."
    )
    name: Name | None = Field(None, description="Null removes it; if absent, it stays.")
    email: Email | None = None
    role: Role | None = None
    disabled: bool | None = None
    actor: UUID | None = Field(None, description=_ACTOR)
    session: UUID | None = Field(None, description=_SESSION)
    current_password: str | None = Field(None, max_length=1024, repr=False, description="Needed for one's own email.")


class ChangePassword(Request[Done]):
    """Change a password; the old one must be given."""

    model_config = example(
        id=_ADA["id"], currentPassword="correct horse battery", newPassword="staple of another colour"
    )
    subject: ClassVar[str] = "users.change_password"

    id: UUID
    current_password: GivenPassword
    new_password: NewPassword
    session: UUID | None = Field(None, description=_SESSION)


class DeleteUser(Request[Done]):
    """Delete a user: the row stays without name, email and password, and the email can be used again."""

    model_config = example(id=_ADA["id"])
    subject: ClassVar[str] = "users.delete"

    id: UUID
    actor: UUID | None = Field(None, description=_ACTOR)
    current_password: str | None = Field(None, max_length=1024, repr=False, description="Needed to delete oneself.")


class _UserEvent(Event):
    user: UserView

    @property
    def aggregate_id(self) -> UUID:
        return self.user.id

    @property
    def aggregate_version(self) -> int:
        return self.user.version


class UserCreated(_UserEvent):
    """A user was created."""

    model_config = example(user=_ADA)
    subject: ClassVar[str] = "user.created"


class UserUpdated(_UserEvent):
    """A user changed; `user` is its new state."""

    model_config = example(user=_ADA | {"version": 2, "name": "Countess of Lovelace"})
    subject: ClassVar[str] = "user.updated"


class UserDeleted(Event):
    """A user was deleted; consumers should delete its data too."""

    model_config = example(id=_ADA["id"], version=3, deletedAt="2026-02-01T12:00:00Z")
    subject: ClassVar[str] = "user.deleted"

    id: UUID
    version: int
    deleted_at: Instant

    @property
    def aggregate_id(self) -> UUID:
        """Id of the deleted user."""
        return self.id

    @property
    def aggregate_version(self) -> int:
        """Version after the deletion."""
        return self.version
