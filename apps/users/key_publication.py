"""Publishing the public keys as a state: an older set never replaces a newer one.

See docs/adr/0026-signing-keys.md.
"""

from collections.abc import Awaitable, Callable

from nats.js.errors import APIError, NotFoundError

from contracts import nats_errors
from contracts.headers import EXPECTED_LAST_SUBJECT_SEQUENCE
from contracts.keys import PublicKeys
from contracts.streams import PUBLIC_KEYS
from kit.errors import NATS, Unavailable
from kit.messaging.broker import Broker
from kit.runtime.failpoints import AFTER_PUBLISH, BEFORE_PUBLISH, failpoint

ReadKeys = Callable[[], Awaitable[PublicKeys]]
"""Returns the keys that are to be published now."""
Publish = Callable[[ReadKeys], Awaitable[bool]]
"""Publishes the keys unless the stream has them already, and waits for the acknowledgement.

Returns whether the stream had them already. Raises nats-py's errors, and `Unavailable` while NATS is disconnected.
"""

PUBLISH_TIMEOUT = 2.0


def publisher(broker: Broker) -> Publish:
    """Return a function that publishes to the stream `PUBLIC_KEYS`, in JetStream.

    The keys are read after the stream. So what is published is at least as new as what another process had published
    by then, and what another one publishes meanwhile makes the stream refuse it.
    """

    async def publish(read: ReadKeys) -> bool:
        while True:
            if not broker.is_connected():
                raise Unavailable(NATS)  # nats-py would keep the message, and send it after the reconnect
            sequence, stored = await _last(broker)
            keys = await read()
            body = keys.model_dump_json().encode()
            if body == stored:
                return True
            failpoint(BEFORE_PUBLISH)
            try:
                await broker.jetstream.publish(
                    keys.address,
                    body,
                    timeout=PUBLISH_TIMEOUT,
                    headers={"content-type": "application/json", EXPECTED_LAST_SUBJECT_SEQUENCE: str(sequence)},
                )
            except APIError as error:
                if error.err_code != nats_errors.WRONG_LAST_SEQUENCE:
                    raise
            else:
                failpoint(AFTER_PUBLISH)
                return False

    return publish


async def _last(broker: Broker) -> tuple[int, bytes]:
    """Return the sequence and the body of the stored set; 0 and no body if there is none."""
    try:
        last = await broker.jetstream.get_last_msg(PUBLIC_KEYS.name, PublicKeys.subject, direct=True)
    except NotFoundError:
        return 0, b""
    return last.seq or 0, last.data or b""
