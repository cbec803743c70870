"""The inbox key of a message: what identifies it as handled by one consumer."""

from typing import Annotated, Any, TypeAlias

from fast_depends.library import CustomField
from nats.aio.msg import Msg
from nats.errors import NotJSMessageError

from contracts.headers import MESSAGE_ID
from kit.inbox import InboxKey


def inbox_key(message: Msg) -> InboxKey:
    """Return the inbox key of `message` for the consumer that delivered it.

    An event keeps its CloudEvents id when it is published again, also by a replay of a dead letter. A message without
    an id is identified by its stream sequence and its time, since a recreated stream counts from one again.
    """
    headers = message.headers or {}
    try:
        metadata = message.metadata
    except NotJSMessageError:  # in memory
        consumer, place = "", message.subject
    else:
        consumer, place = (
            metadata.consumer,
            f"{metadata.stream}.{metadata.sequence.stream}.{metadata.timestamp.isoformat()}",
        )
    return InboxKey(consumer, headers.get("ce-id") or headers.get(MESSAGE_ID) or place)


class _FromMessage(CustomField):
    def __init__(self) -> None:
        super().__init__(cast=False)

    async def use(self, /, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override] # fast_depends awaits it
        kwargs[str(self.param_name)] = inbox_key(kwargs["context__"].resolve("message").raw_message)
        return kwargs


MessageInboxKey: TypeAlias = Annotated[InboxKey, _FromMessage()]
"""The inbox key of the current message, as a parameter of a handler that writes it in its transaction."""
