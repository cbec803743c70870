"""Publishing revocations: before the client gets its answer, and again if the process died in between.

See docs/adr/0025-revocation.md.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from nats.errors import Error as NatsError
from nats.js.api import RawStreamMsg
from nats.js.errors import APIError, NotFoundError
from pydantic import ValidationError
from structlog.stdlib import get_logger

from apps.users.session_repository import Sessions
from contracts import nats_errors
from contracts.base import State
from contracts.headers import EXPECTED_LAST_SUBJECT_SEQUENCE
from contracts.revocations import UserRevocation
from contracts.streams import REVOCATIONS
from kit.errors import NATS, OutcomeUnknown, Refusal
from kit.messaging.broker import Broker
from kit.runtime.periodic import Periodic
from kit.runtime.tracing import trace

log = get_logger(__name__)

Publish = Callable[[str, bytes], Awaitable[None]]
"""Stores a revocation under its subject, unless the stream has a newer one. Raises nats-py's errors."""

REPEAT_INTERVAL = 1.0
_TIMEOUT = 1.0
_LIMIT = 100
"""Revocations of one look at the table."""
_USER = UserRevocation.subject.partition("{")[0]


class Revocations:
    """Publishes revocations that are committed, and forgets those that are acknowledged.

    Every `repeat_interval` seconds each replica publishes what was not forgotten meanwhile: its process died, or NATS
    was away. A repetition is harmless, since a newer revocation of the same user is never replaced by an older one.
    """

    def __init__(
        self,
        open_sessions: Callable[[], Sessions],
        publish: Publish,
        *,
        repeat_interval: float = REPEAT_INTERVAL,
        timeout: float = _TIMEOUT,
    ) -> None:
        self._open_sessions = open_sessions
        self._publish = publish
        self._timeout = timeout
        self.repetition = Periodic(
            self._repeat_all,
            repeat_interval,
            log=log,
            failure="revocations not published yet",
            expected=(NatsError, Refusal, TimeoutError),
        )
        """Background work; when it stops, another replica publishes what is left, or this one after its next start."""

    async def publish(self, revocations: Sequence[State]) -> None:
        """Publish revocations that are committed. Raises `OutcomeUnknown` if NATS does not acknowledge all of them.

        They are published later then: the change itself is done. What is acknowledged but cannot be forgotten now is
        published once more.
        """
        if not revocations:
            return
        messages, acknowledged = [(each.address, each.model_dump_json().encode()) for each in revocations], False
        try:
            async with asyncio.timeout(self._timeout):
                await self._publish_each(messages)
                acknowledged = True
                await self._forget(messages)
        except (NatsError, TimeoutError, Refusal) as error:
            if not acknowledged:
                raise OutcomeUnknown(NATS) from error
            log.warning("published revocations not forgotten yet", reason=str(error) or type(error).__name__)

    async def repeat(self) -> int:
        """Publish what was committed a while ago and not forgotten; return the number."""
        async with self._open_sessions() as sessions:
            older_than = timedelta(seconds=self._timeout)
            unpublished = await sessions.unpublished_revocations(older_than, _LIMIT)
        if unpublished:
            await self._publish_each(unpublished)
            await self._forget(unpublished)
        return len(unpublished)

    async def _publish_each(self, revocations: Sequence[tuple[str, bytes]]) -> None:
        for subject, body in revocations:
            await self._publish(subject, body)

    async def _forget(self, revocations: Sequence[tuple[str, bytes]]) -> None:
        async with self._open_sessions() as sessions:
            await sessions.forget_revocations(revocations)

    async def _repeat_all(self) -> None:
        while await self.repeat() == _LIMIT:
            pass


def publisher(broker: Broker) -> Publish:
    """Return a function that publishes to the stream `REVOCATIONS`, in JetStream."""

    async def publish(subject: str, body: bytes) -> None:
        headers = {"content-type": "application/json"} | trace.get().headers()
        if not subject.startswith(_USER):  # a session ends once
            await broker.jetstream.publish(subject, body, headers=headers)
            return
        version = UserRevocation.model_validate_json(body).version
        while True:
            try:
                last = await broker.jetstream.get_last_msg(REVOCATIONS.name, subject, direct=True)
            except NotFoundError:
                sequence = 0
            else:
                if _version(last) >= version:
                    return
                sequence = last.seq or 0
            try:
                expected = {EXPECTED_LAST_SUBJECT_SEQUENCE: str(sequence)}
                await broker.jetstream.publish(subject, body, headers=headers | expected)
            except APIError as error:
                if error.err_code != nats_errors.WRONG_LAST_SEQUENCE:
                    raise
            else:
                return

    return publish


def _version(stored: RawStreamMsg) -> int:
    """Return the version of a stored revocation; -1 for what is none, which every revocation replaces."""
    try:
        return UserRevocation.model_validate_json(stored.data or b"").version
    except ValidationError:
        return -1
