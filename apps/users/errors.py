"""The ways in which the users service says no."""

from uuid import UUID

from contracts.errors import ErrorKind, FieldError
from kit.errors import CannotStart, Refusal, Unavailable


class UserNotFound(Refusal):
    """There is no such user, or no longer."""

    kind = ErrorKind.NOT_FOUND
    slug = "user-not-found"

    def __init__(self, user_id: UUID) -> None:
        super().__init__(f"There is no user {user_id}.")
        self.user_id = user_id


class EmailTaken(Refusal):
    """Somebody else has this email."""

    kind = ErrorKind.CONFLICT
    slug = "email-taken"

    def __init__(self, email: str) -> None:
        super().__init__(f"{email} belongs to another user.")
        self.email = email


class VersionMismatch(Refusal):
    """The user was changed since the caller last looked."""

    kind = ErrorKind.STALE
    slug = "version-mismatch"

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(f"The user has version {found}, not {expected}.")
        self.expected = expected
        self.found = found


class InvalidCredentials(Refusal):
    """No such user, another password, a disabled user: which of them is nobody's business."""

    kind = ErrorKind.UNAUTHENTICATED
    slug = "invalid-credentials"

    def __init__(self) -> None:
        super().__init__("The email or the password is wrong.")


class PasswordTooCommon(Refusal):
    """The password is among the first that anybody would try; `field` is the request's field that holds it."""

    kind = ErrorKind.INVALID
    slug = "password-too-common"

    def __init__(self, field: str) -> None:
        super().__init__("This password is easy to guess; choose another.")
        self.errors = (FieldError(pointer=f"/{field}", code="password_too_common", message=str(self)),)


class WrongPassword(Refusal):
    """The password that should prove who asks is not the user's."""

    kind = ErrorKind.INVALID
    slug = "wrong-password"

    def __init__(self) -> None:
        super().__init__("This is not the current password.")
        self.errors = (FieldError(pointer="/currentPassword", code="wrong_password", message=str(self)),)


class PasswordChanged(Refusal):
    """The password became another one while it was checked."""

    kind = ErrorKind.CONFLICT
    slug = "password-changed"

    def __init__(self) -> None:
        super().__init__("The password was changed at the same time by somebody else.")


class TooManyPasswords(Unavailable):
    """More passwords wait to be hashed than can be in good time."""

    def __init__(self, waiting: int) -> None:
        super().__init__("password check")
        self.waiting = waiting


class WrongSecret(CannotStart):
    """The secret is not the one with which the signing key was sealed."""

    def __init__(self, kid: str) -> None:
        super().__init__(
            f"JWT_SECRET does not open the signing key {kid} in the database: set it to the secret that sealed the key."
        )
        self.kid = kid


class UnknownSeal(CannotStart):
    """The signing key was sealed in a way that this code does not know."""

    def __init__(self, kid: str) -> None:
        super().__init__(f"The signing key {kid} in the database was sealed by a later version: start that one.")
        self.kid = kid
