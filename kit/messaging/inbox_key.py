"""What marks a message as handled, taken from the message itself."""

from typing import Annotated, Any, TypeAlias

from fast_depends.library import CustomField
from nats.aio.msg import Msg
from nats.errors import NotJSMessageError

from kit.inbox import InboxKey


def inbox_key(message: Msg) -> InboxKey:
    """Return what marks `message` as handled by the consumer that it came from.

    An event keeps its CloudEvents id when it is published again, also by a replay of a dead letter. A message without
    an id is identified by its stream sequence and its time, since a recreated stream counts from one again.
    """
    headers = message.headers or {}
    try:
        about = message.metadata
    except NotJSMessageError:  # in memory
        consumer, place = "", message.subject
    else:
        consumer, place = about.consumer, f"{about.stream}.{about.sequence.stream}.{about.timestamp.isoformat()}"
    return InboxKey(consumer, headers.get("ce-id") or headers.get("Nats-Msg-Id") or place)


class _OfTheMessage(CustomField):
    def __init__(self) -> None:
        super().__init__(cast=False)

    async def use(self, /, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override] # fast_depends awaits it
        kwargs[str(self.param_name)] = inbox_key(kwargs["context__"].resolve("message").raw_message)
        return kwargs


MessageInboxKey: TypeAlias = Annotated[InboxKey, _OfTheMessage()]
"""What a handler is given of its message, to write with what the message does."""
