"""Everything that the users service is asked and says."""

from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import AfterValidator, EmailStr, Field

from contracts.base import Cursor, Done, Event, Instant, Message, PageSize, Request, Text, example

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

Email = Annotated[
    EmailStr,
    Field(max_length=254, description="An address without regard to case, normalised (RFC 5321, Unicode NFC)."),
    AfterValidator(str.lower),
]

Name = Annotated[Text, Field(min_length=1, max_length=200)]

NewPassword = Annotated[
    str,
    Field(
        min_length=8,
        max_length=128,
        repr=False,
        description="Any 8 to 128 characters that are no common password (NIST SP 800-63B).",
    ),
]

GivenPassword = Annotated[str, Field(max_length=1024, repr=False)]
"""A password to be checked: anything that somebody typed."""


class Role(StrEnum):
    """What a user may do."""

    USER = "user"
    ADMIN = "admin"


class UserView(Message):
    """A user as others may see one."""

    model_config = example(**_ADA)

    id: UUID
    email: str
    name: str | None
    role: Role
    disabled: bool
    version: int = Field(description="Grows by one with each change; the first is 1.")
    created_at: Instant
    updated_at: Instant


class UserList(Message):
    """The users that exist among those asked for, in any order."""

    model_config = example(users=[_ADA])

    users: tuple[UserView, ...]


class UserPage(Message):
    """Some users, newest first, and where the next ones begin (null: there are none)."""

    model_config = example(users=[_ADA], nextCursor=None)

    users: tuple[UserView, ...]
    next_cursor: Cursor | None


class Tokens(Message):
    """What proves who somebody is: an access token (RFC 7519, ES256) and for how many seconds it is good."""

    model_config = example(accessToken="eyJhbGciOiJFUzI1NiIs...", expiresIn=900, refreshToken=None)

    access_token: str = Field(repr=False)
    expires_in: int = Field(description="Seconds.")
    refresh_token: str | None = Field(default=None, repr=False)


class JsonWebKey(Message):
    """A public key of curve P-256 (RFC 7517, RFC 7518)."""

    model_config = example(kty="EC", crv="P-256", alg="ES256", use="sig", kid="0198c5c8", x="f83OJ3D2", y="x_FEzRu9")

    kty: str
    crv: str
    alg: str
    use: str
    kid: str
    x: str
    y: str


class JsonWebKeySet(Message):
    """The public keys with which today's tokens can be checked (RFC 7517)."""

    model_config = example(
        keys=[
            {
                "kty": "EC",
                "crv": "P-256",
                "alg": "ES256",
                "use": "sig",
                "kid": "0198c5c8",
                "x": "f83OJ3D2",
                "y": "x_FEzRu9",
            }
        ]
    )

    keys: tuple[JsonWebKey, ...]


class CreateUser(Request[UserView]):
    """Register a user; the email must be free and the password not a common one."""

    model_config = example(email="ada@example.com", password="correct horse battery", name="Ada Lovelace")
    subject: ClassVar[str] = "users.create"

    email: Email
    password: NewPassword
    name: Name | None = None


class GetUsers(Request[UserList]):
    """Look up many users by id; an unknown id is left out of the answer."""

    model_config = example(ids=[_ADA["id"]])
    subject: ClassVar[str] = "users.get_many"

    ids: tuple[UUID, ...] = Field(max_length=1000)


class ListUsers(Request[UserPage]):
    """Look through all users, newest first, or for the one with an email."""

    model_config = example(limit=20)
    subject: ClassVar[str] = "users.list"

    limit: PageSize = 20
    cursor: Cursor | None = None
    email: Email | None = None


class UpdateUser(Request[UserView]):
    """Change what is said and leave what is not; with `expectedVersion` only if that is still the user's version."""

    model_config = example(id=_ADA["id"], expectedVersion=1, name="Countess of Lovelace")
    subject: ClassVar[str] = "users.update"

    id: UUID
    expected_version: int | None = Field(
        None, description="Refused (`version-mismatch`) where the user has another one by now."
    )
    name: Name | None = Field(None, description="Null takes it away; left out it stays.")
    email: Email | None = None
    role: Role | None = None
    disabled: bool | None = None


class ChangePassword(Request[Done]):
    """Give a user, who knows the old one, a new password."""

    model_config = example(
        id=_ADA["id"], currentPassword="correct horse battery", newPassword="staple of another colour"
    )
    subject: ClassVar[str] = "users.change_password"

    id: UUID
    current_password: GivenPassword
    new_password: NewPassword


class DeleteUser(Request[Done]):
    """Forget a user: the row stays without a name, an email or a password, and the email is free again."""

    model_config = example(id=_ADA["id"])
    subject: ClassVar[str] = "users.delete"

    id: UUID


class Authenticate(Request[Tokens]):
    """Exchange an email and a password for tokens; one refusal, in one time, for unknown, wrong and disabled."""

    model_config = example(email="ada@example.com", password="correct horse battery")
    subject: ClassVar[str] = "users.authenticate"

    email: Text = Field(max_length=1024)
    password: GivenPassword


class GetKeys(Request[JsonWebKeySet]):
    """Ask for the public keys with which tokens are checked."""

    model_config = example()
    subject: ClassVar[str] = "users.jwks"


class _UserEvent(Event):
    user: UserView

    @property
    def aggregate_id(self) -> UUID:
        return self.user.id

    @property
    def aggregate_version(self) -> int:
        return self.user.version


class UserCreated(_UserEvent):
    """A user exists."""

    model_config = example(user=_ADA)
    subject: ClassVar[str] = "user.created"


class UserUpdated(_UserEvent):
    """A user is no longer what it was; `user` is what it is now."""

    model_config = example(user=_ADA | {"version": 2, "name": "Countess of Lovelace"})
    subject: ClassVar[str] = "user.updated"


class UserDeleted(Event):
    """A user is gone; whatever others know of it should go as well."""

    model_config = example(id=_ADA["id"], version=3, deletedAt="2026-02-01T12:00:00Z")
    subject: ClassVar[str] = "user.deleted"

    id: UUID
    version: int
    deleted_at: Instant

    @property
    def aggregate_id(self) -> UUID:
        """The user that was."""
        return self.id

    @property
    def aggregate_version(self) -> int:
        """The version with which it ended."""
        return self.version
