"""What every message on the wire is."""

import re
from typing import Annotated, Any, ClassVar, Generic, TypeVar, cast
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Reply = TypeVar("Reply", bound="Message")
AnyCommand = TypeVar("AnyCommand", bound="Command")

Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""A string that PostgreSQL can keep: any Unicode text without NUL (lone surrogates are refused by pydantic itself)."""

Instant = AwareDatetime
"""A moment with its offset from UTC; RFC 3339 in JSON."""

PageSize = Annotated[int, Field(ge=1, le=100, description="How many items one page holds at most.")]

Cursor = Annotated[
    str, Field(max_length=200, description="Where the next page begins: opaque, taken from the page before.")
]


_PLACEHOLDER = re.compile(r"\{\w+\}")


def example(**fields: Any) -> ConfigDict:
    """Configure a message with one example, in its wire form; the documentation shows it and a test validates it."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


class Message(BaseModel):
    """A frozen value, camelCase in JSON; unknown fields are ignored, so that a sender may add one."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class Request(Message, Generic[Reply]):
    """A question to one service; `Reply` is its answer when it does not refuse."""

    subject: ClassVar[str]

    @classmethod
    def reply_type(cls) -> type[Reply]:
        """Return the class that `Request[...]` was given; `TypeError` where it was given none."""
        for base in cls.__mro__:
            if args := getattr(base, "__pydantic_generic_metadata__", {}).get("args", ()):
                return cast("type[Reply]", args[0])
        raise TypeError(f"{cls.__name__} does not say what it is answered with")


class Command(Message):
    """A durable command: stored in a stream under a separate subject until it is processed."""

    subject: ClassVar[str]
    """With a placeholder, such as `{paymentId}`, where the command's own id stands."""

    id: UUID

    @property
    def address(self) -> str:
        """The subject of this one command."""
        return self.address_of(self.id)

    @classmethod
    def address_of(cls, command_id: UUID) -> str:
        """Return the subject under which the command with this id is kept."""
        return _PLACEHOLDER.sub(str(command_id), cls.subject)


class Event(Message):
    """A fact about one aggregate; sent at least once, always with the same id, in the order of the versions."""

    subject: ClassVar[str]

    @property
    def aggregate_id(self) -> UUID:
        """What the fact is about: CloudEvents' `subject`."""
        raise NotImplementedError

    @property
    def aggregate_version(self) -> int:
        """The version that the aggregate has since this fact; the first is 1."""
        raise NotImplementedError


class Done(Message):
    """It is done, and there is nothing more to say."""

    model_config = example()
