"""The refusals of the users service, and the reasons for which it does not start."""

from uuid import UUID

from contracts.errors import ErrorKind, FieldError
from kit.errors import CannotStart, InvalidField, Refusal, Unavailable


class UserNotFound(Refusal):
    """There is no user with this id, or it was deleted."""

    kind = ErrorKind.NOT_FOUND
    slug = "user-not-found"

    def __init__(self, user_id: UUID) -> None:
        super().__init__(f"There is no user {user_id}.")
        self.user_id = user_id


class EmailTaken(Refusal):
    """Another user has this email."""

    kind = ErrorKind.CONFLICT
    slug = "email-taken"

    def __init__(self, email: str) -> None:
        super().__init__(f"{email} belongs to another user.")
        self.email = email


class UndeliverableEmail(InvalidField):
    """The domain of the email is for tests: it receives no mail."""

    def __init__(self) -> None:
        super().__init__(
            "email", "test_domain", "Domains that end in `.test` are accepted only in development: nobody owns them."
        )


class VersionMismatch(Refusal):
    """The user was changed since the caller read it."""

    kind = ErrorKind.STALE
    slug = "version-mismatch"

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(f"The user has version {actual}, not {expected}.")
        self.expected = expected
        self.actual = actual


class InvalidCredentials(Refusal):
    """The user is unknown or disabled, or the password is wrong; the refusal does not tell which."""

    kind = ErrorKind.UNAUTHENTICATED
    slug = "invalid-credentials"

    def __init__(self) -> None:
        super().__init__("The email or the password is wrong.")


class InvalidRefreshToken(Refusal):
    """The refresh token is not genuine, or its session has ended; the refusal does not tell which."""

    kind = ErrorKind.UNAUTHENTICATED
    slug = "invalid-refresh-token"

    def __init__(self) -> None:
        super().__init__("The refresh token is invalid, or its session has ended: sign in again.")


class SessionNotFound(Refusal):
    """The user has no session with this id, or it has ended."""

    kind = ErrorKind.NOT_FOUND
    slug = "session-not-found"

    def __init__(self, session: UUID) -> None:
        super().__init__(f"There is no session {session}.")
        self.session = session


class CurrentPasswordRequired(Refusal):
    """One's own email, or oneself, is changed without the current password."""

    kind = ErrorKind.INVALID
    slug = "current-password-required"

    def __init__(self) -> None:
        super().__init__("This needs the current password.")
        self.errors = (FieldError(pointer="/currentPassword", code="missing", message=str(self)),)


class LastAdmin(Refusal):
    """The last admin who is not disabled would be deleted, disabled or demoted."""

    kind = ErrorKind.CONFLICT
    slug = "last-admin"

    def __init__(self) -> None:
        super().__init__("This user is the last admin: make another user an admin first.")


class PasswordTooCommon(Refusal):
    """The new password is a common one or made of the context's words; `errors` names its field."""

    kind = ErrorKind.INVALID
    slug = "password-too-common"

    def __init__(self, field: str) -> None:
        super().__init__("This password is easy to guess; choose another.")
        self.errors = (FieldError(pointer=f"/{field}", code="password_too_common", message=str(self)),)


class WrongPassword(Refusal):
    """The current password in the request is not the user's."""

    kind = ErrorKind.INVALID
    slug = "wrong-password"

    def __init__(self) -> None:
        super().__init__("This is not the current password.")
        self.errors = (FieldError(pointer="/currentPassword", code="wrong_password", message=str(self)),)


class PasswordChanged(Refusal):
    """Another request changed the password at the same time."""

    kind = ErrorKind.CONFLICT
    slug = "password-changed"

    def __init__(self) -> None:
        super().__init__("Another request changed the password at the same time.")


class TooManyPasswords(Unavailable):
    """Too many passwords wait to be hashed."""

    def __init__(self, pending: int) -> None:
        super().__init__("password check")
        self.pending = pending


class RotationInProgress(Refusal):
    """There is a next signing key already; it signs once its cache time is over."""

    kind = ErrorKind.CONFLICT
    slug = "rotation-in-progress"

    def __init__(self) -> None:
        super().__init__("There is a next signing key already: wait until it signs.")


class SigningKeyNotFound(Refusal):
    """There is no signing key with this id, or it has left the published set."""

    kind = ErrorKind.NOT_FOUND
    slug = "signing-key-not-found"

    def __init__(self, kid: str) -> None:
        super().__init__(f"There is no signing key {kid}.")
        self.kid = kid


class NoSigningKey(Unavailable):
    """No signing key is known to be published and active."""

    def __init__(self) -> None:
        super().__init__("signing key")


class WrongSecret(CannotStart):
    """The secret is not the one that the signing key was sealed with."""

    def __init__(self, kid: str) -> None:
        super().__init__(
            f"JWT_SECRET does not open the signing key {kid} in the database: set it to the secret that sealed the key."
        )
        self.kid = kid


class UnknownSeal(CannotStart):
    """The signing key was sealed in a format that this version does not know."""

    def __init__(self, kid: str) -> None:
        super().__init__(f"The signing key {kid} in the database was sealed by a later version: start that version.")
        self.kid = kid
