"""The public keys that verify access tokens, as the users service has published them.

They come from the stream `PUBLIC_KEYS`, so tokens are verified while the users service is away, hangs or restarts. See
docs/adr/0026-signing-keys.md.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from hashlib import sha256

from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from pydantic import ValidationError
from structlog.stdlib import get_logger

from apps.gateway.http.backpressure import remaining
from contracts.keys import JsonWebKeySet, PublicKeys
from contracts.streams import PUBLIC_KEYS
from kit.batching import BatchLoader
from kit.errors import NATS, Unavailable
from kit.messaging.broker import Broker
from kit.tokens import Claims, UnknownKey, Verifier

log = get_logger(__name__)

MAX_AGE = 300.0
"""Seconds after which a set that was not confirmed is not used: a key may have been withdrawn meanwhile."""
_READ_INTERVAL = 5.0
_KEYS = "set of public keys that verify access tokens"

ReadKeys = Callable[[], Awaitable[PublicKeys | None]]
"""Returns the stored set, None if there is none. Raises `Unavailable`."""


class PublishedKeys:
    """The last published set, which `apply` and `confirm` keep current.

    A token with an unknown `kid`, which anybody can send, reads the stream once for all that wait, and at most once per
    `read_interval` seconds; so does a token while there is no usable set. A set that was not confirmed for `max_age`
    seconds is not used. `timeout` is in seconds, `clock` is monotonic,
    and `unix_time`, by which tokens expire, counts the seconds since 1970.
    """

    def __init__(
        self,
        read: ReadKeys,
        timeout: float = 2.0,
        *,
        max_age: float = MAX_AGE,
        read_interval: float = _READ_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        self._read = read
        self._timeout = timeout
        self._max_age = max_age
        self._read_interval = read_interval
        self._clock = clock
        self._unix_time = unix_time
        self._keys = JsonWebKeySet(keys=())
        self._etag = ""
        self._verifier: Verifier | None = None
        self._confirmed_at = self._read_at = float("-inf")
        self._loader: BatchLoader[None, None] = BatchLoader(self._read_once, in_flight=1)

    def apply(self, keys: JsonWebKeySet) -> None:
        """Use a set from now on; tokens of a key that it lacks are refused."""
        if self._verifier is None or keys.keys != self._keys.keys:  # a new verifier has cached no token of a lost key
            self._keys = JsonWebKeySet(keys=keys.keys)
            self._etag = f'"{sha256(self._keys.model_dump_json().encode()).hexdigest()[:32]}"'
            by_id = {key.kid: key.model_dump() for key in keys.keys}
            self._verifier = Verifier(by_id, clock=self._unix_time)
        self.confirm()

    def confirm(self) -> None:
        """Note that the set is the last one that was published; before the first one there is nothing to note."""
        if self._verifier is not None:
            self._confirmed_at = self._clock()

    def known(self, token: str) -> Claims | None:
        """Return the claims of a token that was verified before; None if it was not, or the set is too old."""
        return self._verifier.known(token) if self._verifier and not self._is_too_old() else None

    async def verify(self, token: str) -> Claims:
        """Return the claims of a valid token.

        Raises `InvalidToken`, and `Unavailable` if no set was published or the last one was not confirmed for too long.
        """
        verifier = await self._usable()
        try:
            return verifier.verify(token)
        except UnknownKey:
            await self._read_again()
            return (await self._usable()).verify(token)

    async def current(self) -> tuple[JsonWebKeySet, str]:
        """Return the set and its ETag. Raises `Unavailable` as `verify` does."""
        await self._usable()
        return self._keys, self._etag

    async def _usable(self) -> Verifier:
        if self._is_too_old():
            await self._read_again()
        if self._verifier is None or self._is_too_old():
            raise Unavailable(_KEYS)
        return self._verifier

    def _is_too_old(self) -> bool:
        return self._clock() - self._confirmed_at > self._max_age

    async def _read_again(self) -> None:
        with suppress(TimeoutError):  # the set that is known may still do
            await self._loader.within(remaining(self._timeout), None)

    async def _read_once(self, waiting: Sequence[None]) -> list[None]:
        """Read the stream for all that wait, unless it was read a moment ago."""
        if self._clock() - self._read_at > self._read_interval:
            self._read_at = self._clock()
            try:
                keys = await self._read()
            except Unavailable as error:
                log.warning("public keys cannot be read", reason=str(error))
            else:
                if keys is not None:
                    self.apply(keys)
        return [None for _ in waiting]


def stored_keys(broker: Broker) -> ReadKeys:
    """Return a function that reads the stream `PUBLIC_KEYS` itself, which its followers may be behind."""

    async def read() -> PublicKeys | None:
        if not broker.is_connected():
            raise Unavailable(NATS)
        try:
            last = await broker.jetstream.get_last_msg(PUBLIC_KEYS.name, PublicKeys.subject, direct=True)
            return PublicKeys.model_validate_json(last.data or b"")
        except NotFoundError:
            return None
        except NatsError as error:
            raise Unavailable(NATS) from error
        except ValidationError as error:
            raise Unavailable(_KEYS) from error

    return read
