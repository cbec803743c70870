"""Password rules, and argon2id hashing on a bounded number of threads."""

import asyncio
import os
import re
import secrets
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Self, TypeVar
from unicodedata import normalize

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from apps.users.errors import PasswordTooCommon, TooManyPasswords
from kit.runtime.measurements import sum_of_processes

Result = TypeVar("Result")

_MIN_LENGTH = 8
_PRODUCT = "mkstore"
_WORD = re.compile(r"[^\W\d_]+")
"""Letters alone: parts of `ada.lovelace_1815` are `ada` and `lovelace`."""
_MIN_WORD = 3
"""Letters: shorter words stand in too many good passwords."""
_PENDING = sum_of_processes("mkstore_passwords_pending", "Passwords that are hashed now, or wait for a thread.")
_PENDING_PER_THREAD = 33
"""One that is hashed and 32 that wait: about one second of work, which is as long as clients wait."""
_WAIT_TIMEOUT = 1.5
"""Seconds. On a busy machine a hash takes longer, and a password that has waited this long has no caller any more."""


@cache
def common_passwords() -> frozenset[str]:
    """Return zxcvbn's list of common passwords in lower case, without those that are too short to be accepted."""
    # Imported on first use: the module has five more lists and takes 0.1 s.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415

    return frozenset(password.lower() for password in FREQUENCY_LISTS["passwords"] if len(password) >= _MIN_LENGTH)


def reject_guessable(password: str, field: str, *, email: str, name: str | None) -> None:
    """Check a new password against the common ones and the words that its context suggests (NIST SP 800-63B, 3.1.1.2).

    These words are the product's name, the parts of the email and of the user's name. A password that has nothing else
    but less than eight digits, blanks and signs is rejected, and one that repeats one character.

    Raises `PasswordTooCommon`, which names the request's `field`.
    """
    guess = _folded(password)
    if guess in common_passwords() or len(set(guess)) == 1 or _is_made_of(guess, _context(email, name)):
        raise PasswordTooCommon(field)


def _context(email: str, name: str | None) -> set[str]:
    """Return the words that a guesser tries first, in the form in which passwords are compared."""
    texts = [_PRODUCT, *_folded(email).split("@"), _folded(name or "")]
    words = {word for text in texts for word in (text, *_WORD.findall(text))}
    return {word for word in words if len(word) >= _MIN_WORD}


def _is_made_of(guess: str, words: set[str]) -> bool:
    """Return whether `guess` has a word, and beside its words only a few characters, none of them a letter."""
    longest_first = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    rest, found = re.subn(longest_first, "", guess)
    return found > 0 and len(rest) < _MIN_LENGTH and not any(character.isalpha() for character in rest)


def _folded(text: str) -> str:
    return normalize("NFKC", text).lower()


class Passwords:
    """Hashes and verifies passwords (argon2id, RFC 9106; Unicode NFKC) on separate threads.

    `threads` is 0 for one per processor. At most `max_pending` passwords are hashed or wait for a thread, by default
    33 per thread; one that has waited `wait_timeout` seconds of `clock` is not hashed any more. Both are refused with
    `TooManyPasswords`. `close` ends the threads.
    """

    def __init__(
        self,
        hasher: PasswordHasher,
        *,
        threads: int = 0,
        max_pending: int | None = None,
        wait_timeout: float = _WAIT_TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hasher = hasher
        self._threads = threads or os.cpu_count() or 1
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="passwords")
        self._max_pending = self._threads * _PENDING_PER_THREAD if max_pending is None else max_pending
        self._pending = 0
        self._wait_timeout = wait_timeout
        self._clock = clock
        self._decoy = _decoy(hasher)

    def available(self) -> Self:
        """Return this object. Raises `TooManyPasswords` if no more passwords may wait."""
        if self._pending >= self._max_pending:
            raise TooManyPasswords(self._pending)
        return self

    async def hash(self, password: str) -> str:
        """Return the hash of a password, in the PHC string format. Raises `TooManyPasswords`."""
        return await self._run(lambda: self._hasher.hash(normalize("NFKC", password)))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Return whether `stored` is the hash of `password`. Raises `TooManyPasswords`.

        For None it returns False after the same work, so that an unknown user is not recognised by the duration.
        """
        return await self._run(lambda: self._verify(stored, password))

    def is_outdated(self, stored: str) -> bool:
        """Return whether `stored` was made with other parameters than the present ones."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """Cancel what waits, and let the threads end."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _verify(self, stored: str | None, password: str) -> bool:
        try:
            self._hasher.verify(stored or self._decoy, normalize("NFKC", password))
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None

    async def _run(self, work: Callable[[], Result]) -> Result:
        self.available()
        submitted = self._clock()
        has_to_wait = self._pending >= self._threads
        self._pending += 1
        _PENDING.inc()

        def run_in_time() -> Result:
            # With a free thread it waits for no other password, even if the thread starts late.
            if has_to_wait and self._clock() - submitted > self._wait_timeout:
                raise TooManyPasswords(self._pending)
            return work()

        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, run_in_time)
        finally:
            self._pending -= 1
            _PENDING.dec()


def _decoy(hasher: PasswordHasher) -> str:
    """Return the hash of no known password, which `hasher` verifies in the same time as a real one."""
    salt, digest = (
        b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (hasher.salt_len, hasher.hash_len)
    )
    parameters = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${parameters}${salt}${digest}"
