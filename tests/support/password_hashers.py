"""Password hashers that a test observes."""

import threading
from typing import Any, Literal, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error


class Verification(NamedTuple):
    """One call of `verify`."""

    stored: str
    error: Argon2Error | None


class RecordingHasher(PasswordHasher):
    """A hasher that records what it verified."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.verified: list[Verification] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:  # noqa: A002 - argon2-cffi's name
        try:
            verified = super().verify(hash, password)
        except Argon2Error as error:
            self.verified.append(Verification(str(hash), error))
            raise
        self.verified.append(Verification(str(hash), None))
        return verified


class BlockingHasher(PasswordHasher):
    """A hasher that waits for `release`; `started` has the name of the thread of each hash."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.started: list[str] = []
        self.release = threading.Event()

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.started.append(threading.current_thread().name)
        assert self.release.wait(60)
        return super().hash(password, salt=salt)
