"""Passwords: which are refused, and their argon2id hashes, made on threads of their own and never on the event loop."""

import asyncio
import os
import secrets
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Self, TypeVar
from unicodedata import normalize

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from apps.users.errors import PasswordTooCommon, TooManyPasswords

Result = TypeVar("Result")

_SHORTEST = 8
_SALT, _DIGEST = 16, 32
"""Bytes of each in argon2-cffi's own hashes."""
_LONGEST_WAIT = 1.5
"""Seconds after which a password that still waits for others is refused: on a busy machine a hash takes longer than it
should. One that found a thread free waits for nobody, however late the machine lets it begin."""
_WAITING = 32
"""Passwords that may wait per thread: about one second of work, which is as long as clients wait."""


@cache
def common_passwords() -> frozenset[str]:
    """Return the common passwords that are long enough to be tried at all, in lower case: zxcvbn's list."""
    # Imported when it is first needed: it brings five more lists, and takes 0.1 s.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415

    return frozenset(password.lower() for password in FREQUENCY_LISTS["passwords"] if len(password) >= _SHORTEST)


def refuse_easy(password: str, email: str, field: str) -> None:
    """Raise `PasswordTooCommon`, naming the request's `field`, for a common password and for one that is the email."""
    guess = normalize("NFKC", password).lower()
    if guess in {email, email.partition("@")[0]} or guess in common_passwords():
        raise PasswordTooCommon(field)


class Passwords:
    """Hashes and checks passwords (argon2id, RFC 9106), Unicode NFKC, a bounded number of them at once.

    Raises `TooManyPasswords` at once when more wait than `threads` can do in about a second. `close` ends the threads.
    """

    def __init__(self, *, memory_kib: int, iterations: int, parallelism: int, threads: int = 0) -> None:
        threads = threads or os.cpu_count() or 1
        self._hasher = PasswordHasher(
            time_cost=iterations, memory_cost=memory_kib, parallelism=parallelism, type=Type.ID
        )
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._most_at_once = threads
        self._most = threads * (1 + _WAITING)
        self._at_work = 0
        # What is checked when there is no user to check: it costs the same, and it is the hash of no known password.
        salt, digest = (b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (_SALT, _DIGEST))
        self._nobody = f"$argon2id$v=19$m={memory_kib},t={iterations},p={parallelism}${salt}${digest}"

    def free(self) -> Self:
        """Return itself if there is room for one more."""
        if self._at_work >= self._most:
            raise TooManyPasswords(self._at_work)
        return self

    async def hash(self, password: str) -> str:
        """Return the hash of a password, in the PHC string format."""
        return await self._on_a_thread(lambda: self._hasher.hash(normalize("NFKC", password)))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Tell whether `password` is the one that `stored` is the hash of; for None no, after the same time."""
        return await self._on_a_thread(lambda: self._verify(stored, password))

    def is_outdated(self, stored: str) -> bool:
        """Tell whether `stored` was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """Begin no more work, and let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, stored: str | None, password: str) -> bool:
        try:
            self._hasher.verify(stored or self._nobody, normalize("NFKC", password))
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None

    async def _on_a_thread(self, work: Callable[[], Result]) -> Result:
        self.free()
        asked = time.monotonic()
        waits = self._at_work >= self._most_at_once
        self._at_work += 1

        def in_time() -> Result:
            if waits and time.monotonic() - asked > _LONGEST_WAIT:  # its caller is about to go; the next one's is not
                raise TooManyPasswords(self._at_work)
            return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, in_time)
        finally:
            self._at_work -= 1
