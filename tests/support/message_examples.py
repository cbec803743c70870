"""The documented examples of messages."""

from typing import Any, TypeVar

from contracts.base import Message

AnyMessage = TypeVar("AnyMessage", bound=Message)


def example_of(message: type[AnyMessage]) -> AnyMessage:
    """Return the message that the documents show."""
    extra: Any = message.model_config["json_schema_extra"]
    return message.model_validate(extra["examples"][0])
