"""The signing keys of a process: which one signs, and the steps of a rotation.

A key is published first, signs after the cache time, and stays published until its last token has expired. Each step
is one transaction or one guarded publish that any replica may repeat. See docs/adr/0026-signing-keys.md.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from nats.errors import Error as NatsError
from structlog.stdlib import get_logger

from apps.users.errors import NoSigningKey, SigningKeyNotFound, UnknownSeal, WrongSecret
from apps.users.key_models import KeyTimes, SigningKey
from apps.users.key_publication import Publish
from apps.users.key_repository import SigningKeys
from apps.users.keys import KeySeal
from contracts.keys import KeyRotated, KeyState, PublicKeys, SigningKeyList, SigningKeyView
from kit.errors import NATS, OutcomeUnknown, Refusal
from kit.runtime.clock import SYSTEM_CLOCK, SystemClock
from kit.runtime.periodic import Periodic
from kit.runtime.security_log import security_event
from kit.tokens import MAX_LIFETIME, Signer

log = get_logger(__name__)

LOOK_INTERVAL = 1.0
"""Seconds between two looks at the keys: until then a replica signs with the key that was active before."""
NOTICE_TIMEOUT = 30.0
"""Seconds without a look after which a process signs no more: another key may be active."""
RETIREMENT = MAX_LIFETIME + timedelta(seconds=NOTICE_TIMEOUT)
"""Time for which a retired key stays published."""


class KeyRing:
    """Signs with the active key of the database, and moves every rotation on.

    All replicas do the same: whichever is first takes a step. `open_keys` opens a transaction, `read_keys` a connection
    that commits each statement. `clock` is monotonic, `look_interval` is in seconds. Tokens
    begin and expire by `signing_clock`.
    """

    def __init__(
        self,
        open_keys: Callable[[], SigningKeys],
        read_keys: Callable[[], SigningKeys],
        seal: KeySeal,
        publish: Publish,
        *,
        lifetime: timedelta,
        times: KeyTimes,
        look_interval: float = LOOK_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
        signing_clock: SystemClock = SYSTEM_CLOCK,
    ) -> None:
        self._open_keys = open_keys
        self._read_keys = read_keys
        self._seal = seal
        self._publish = publish
        self._lifetime = lifetime
        self._times = times
        self._clock = clock
        self._signing_clock = signing_clock
        self._in_order = asyncio.Lock()
        self._opened: Signer | None = None
        self._kid = ""
        self._published = False
        self._looked_at = clock()
        self._failure = "the public keys are not published yet"
        self._looking = Periodic(self._try, look_interval, log=log, failure="signing keys not looked at", at_once=False)

    async def load(self) -> None:
        """Open the active key; create it if there is none. Processes that start at the same time agree on one.

        Raises `WrongSecret` and `UnknownSeal` if it cannot be opened.
        """
        if await self._read() is None:
            created = await self._seal.new()
            async with self._open_keys() as keys:
                await keys.add_first(created)
            await self._read()

    def signer(self) -> Signer:
        """Return the signer of access tokens. Raises `NoSigningKey` if its key may be retired or unknown to others."""
        if self._opened is None or not self._published or self._clock() - self._looked_at > NOTICE_TIMEOUT:
            raise NoSigningKey
        return self._opened

    async def public(self) -> PublicKeys:
        """Return the public keys that are published now, or a moment later, the newest first."""
        now, keys = await self._all()
        return self._set(now, keys)

    async def list(self) -> SigningKeyList:
        """Return every key and its state, the newest first."""
        _, keys = await self._all()
        return SigningKeyList(data=tuple(key.describe(self._times) for key in keys))

    async def rotate(self) -> SigningKeyView:
        """Create the next key and publish it.

        Raises `RotationInProgress` if there is a next key, and `OutcomeUnknown` if NATS does not acknowledge it in
        time: then it is published later.
        """
        created = await self._seal.new()
        async with self._open_keys() as keys:
            await keys.add_next(created)
        try:
            async with self._in_order:
                await self._publish_present()
        except (NatsError, TimeoutError) as error:
            raise OutcomeUnknown(NATS) from error
        return next(key for key in (await self.list()).data if key.kid == created.kid)

    async def withdraw(self, kid: str) -> SigningKeyList:
        """Delete a key, publish the others and return them; if it was the active one, another one signs at once.

        Raises `SigningKeyNotFound`, and `OutcomeUnknown` if NATS does not acknowledge in time: then they are published
        later. Another replica may sign with the key for one more look.
        """
        spare = await self._seal.new()
        async with self._in_order:
            async with self._open_keys() as keys:
                await keys.lock()
                present = {key.kid: key for key in await keys.all()}
                if (withdrawn := present.get(kid)) is None:
                    raise SigningKeyNotFound(kid)
                if withdrawn.state is KeyState.ACTIVE:
                    await self._replace_active(keys, present.values(), spare)
                await keys.withdraw(kid)
            security_event("key-withdrawn")
            log.warning("signing key withdrawn", kid=kid)
            await self._read()
            try:
                await self._publish_present()
            except (NatsError, TimeoutError) as error:
                raise OutcomeUnknown(NATS) from error
        return await self.list()

    async def look(self) -> None:
        """Sign with the key that is active now, and take the steps that are due.

        Raises nats-py's errors, `Refusal` if the database or NATS is unavailable, and as `load` does.
        """
        async with self._in_order:
            await self._read()
            if await self._publish_present():  # else it was not published until now
                await self._activate()

    async def start(self) -> None:
        """Publish the keys, and look at them in the background from now on."""
        await self._try()
        await self._looking.start()

    async def stop(self) -> None:
        """Stop; another replica, or the next start, continues."""
        await self._looking.stop()

    async def check(self) -> str:
        """Return which key signs. Raises `RuntimeError` if the last look failed, or the task has ended."""
        if not self._looking.is_running:
            raise RuntimeError("the signing keys are not looked at")
        if self._failure:
            raise RuntimeError(self._failure)
        return f"Key {self._kid} signs."

    async def _try(self) -> None:
        try:
            await self.look()
        except (NatsError, Refusal, TimeoutError, WrongSecret, UnknownSeal) as error:
            self._failed(str(error) or type(error).__name__)
        except Exception as error:  # nothing else restarts the task
            log.exception("signing keys not looked at")
            self._failed(type(error).__name__)
        else:
            self._failure = ""

    def _failed(self, reason: str) -> None:
        sentence = f"the signing keys are not up to date: {reason}"
        if sentence != self._failure:  # one line per outage
            log.warning("signing keys not up to date", reason=reason)
        self._failure = sentence

    async def _all(self) -> tuple[datetime, Sequence[SigningKey]]:
        async with self._read_keys() as keys:
            return await keys.now(), await keys.all()

    async def _read(self) -> SigningKey | None:
        """Sign with the active key of the database from now on; return it."""
        before = self._clock()
        _, keys = await self._all()
        active = next((key for key in keys if key.state is KeyState.ACTIVE), None)
        if active is not None:
            if active.kid != self._kid:
                private = await self._seal.open(active)
                self._opened = Signer(active.kid, private, self._lifetime, clock=self._signing_clock)
                self._kid = active.kid
            self._published = active.published_at is not None
            self._looked_at = before
        return active

    def _set(self, now: datetime, keys: Sequence[SigningKey]) -> PublicKeys:
        return PublicKeys(keys=tuple(key.view() for key in keys if key.is_published(now, self._times)))

    async def _publish_present(self) -> bool:
        """Publish the keys unless that is done; return whether it was done before."""
        now, keys = await self._all()

        async def read() -> PublicKeys:
            nonlocal now, keys
            now, keys = await self._all()
            return self._set(now, keys)

        unchanged = await self._publish(read)
        new = [key.kid for key in keys if key.published_at is None]
        left = [key.kid for key in keys if not key.is_published(now, self._times)]
        if new or left:
            async with self._read_keys() as noted:
                await noted.note_published(new)
                await noted.delete(left)
        self._published |= any(key.kid == self._kid for key in keys)
        return unchanged

    async def _replace_active(self, keys: SigningKeys, present: Iterable[SigningKey], spare: SigningKey) -> None:
        """Let the next key sign although it may be unknown to clients that cache the set; without one, `spare`."""
        following = next((key for key in present if key.state is KeyState.NEXT), None)
        if following is None:
            await keys.add_next(spare)
        following = following or spare
        await keys.activate(following)
        await keys.emit(KeyRotated(kid=following.kid, rotated_at=await keys.now()))

    async def _activate(self) -> None:
        """Let the next key sign if its cache time is over, and retire the active one."""
        now, keys = await self._all()
        if not any(key.is_due(now, self._times) for key in keys):
            return
        async with self._open_keys() as changed:
            await changed.lock()
            now = await changed.now()
            due = next((key for key in await changed.all() if key.is_due(now, self._times)), None)
            if due is None:
                return  # another replica was faster
            await changed.activate(due)
            await changed.emit(KeyRotated(kid=due.kid, rotated_at=now))
        security_event("key-rotated")
        log.info("signing key rotated", kid=due.kid)
        await self._read()
