"""The dependencies of the users service's handlers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from apps.users import key_rotation, models, refresh_tokens, repository, revocations
from apps.users import passwords as password_hashes
from kit import tokens
from kit.runtime import clock as clocks
from kit.runtime.depends import Factory, Provided


@dataclass(frozen=True)
class SessionLimits:
    """When sessions end by themselves."""

    idle: timedelta = timedelta(days=30)
    """Without a refresh."""
    longest: timedelta = timedelta(days=180)
    per_user: int = 100


@dataclass(frozen=True)
class Dependencies:
    """What the composition root builds for the handlers; tests pass fakes."""

    open_users: Callable[[], repository.Users]
    """Opens a transaction."""
    read_users: Callable[[], repository.Users]
    """Opens a connection that commits each statement: reads save the two round trips of a transaction."""
    passwords: password_hashes.Passwords
    keys: key_rotation.KeyRing
    session_keys: refresh_tokens.SessionKeys
    session_limits: SessionLimits
    revocations: revocations.Revocations
    email_rules: models.EmailRules
    clock: clocks.SystemClock = clocks.SYSTEM_CLOCK

    def available_passwords(self) -> password_hashes.Passwords:
        """Return `passwords`. Raises `TooManyPasswords` if too many requests wait for a hash already."""
        return self.passwords.available()

    def current_signer(self) -> tokens.Signer:
        """Return the signer of access tokens. Raises `NoSigningKey` if none may sign now."""
        return self.keys.signer()


Clock = Annotated[clocks.SystemClock, Provided("clock")]
Users = Annotated[repository.Users, Factory("open_users")]
UsersToRead = Annotated[repository.Users, Factory("read_users")]
Keys = Annotated[key_rotation.KeyRing, Provided("keys")]
Passwords = Annotated[password_hashes.Passwords, Factory("available_passwords")]
"""Refuses the request before any work is done when too many wait for a hash already."""
Signer = Annotated[tokens.Signer, Factory("current_signer")]
PasswordsIfNeeded = Annotated[password_hashes.Passwords, Provided("passwords")]
"""For a request that needs no hash in most cases: a hash is refused when it is asked for."""
SessionKeys = Annotated[refresh_tokens.SessionKeys, Provided("session_keys")]
Limits = Annotated[SessionLimits, Provided("session_limits")]
EmailRules = Annotated[models.EmailRules, Provided("email_rules")]
Revocations = Annotated[revocations.Revocations, Provided("revocations")]
