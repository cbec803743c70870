"""Base classes of all messages on the wire."""

import re
from typing import Annotated, Any, ClassVar, Generic, TypeVar, cast
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, computed_field
from pydantic.alias_generators import to_camel

Reply = TypeVar("Reply", bound="Message")
Item = TypeVar("Item", bound="Message")
AnyCommand = TypeVar("AnyCommand", bound="Command")

Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""A string that PostgreSQL can store: Unicode text without NUL (pydantic rejects lone surrogates)."""

Instant = AwareDatetime
"""A point in time with a UTC offset; RFC 3339 in JSON."""

PageSize = Annotated[int, Field(ge=1, le=100, description="Maximum number of items in a page.")]

Cursor = Annotated[
    str, Field(max_length=200, description="Opaque position of the next page, from `nextCursor` of the previous page.")
]


_PLACEHOLDER = re.compile(r"\{\w+\}")


def example(**fields: Any) -> ConfigDict:
    """Return a model configuration with one example in its wire form, for the documentation."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


class Message(BaseModel):
    """A frozen value, camelCase in JSON. Unknown fields are ignored, so a newer sender may add one."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


class Page(Message, Generic[Item]):
    """A page of a list, the same on NATS and over HTTP.

    Each list has a subclass, whose name is that of the schema in the documents.
    """

    data: tuple[Item, ...]
    next_cursor: Cursor | None = Field(description="The cursor of the next page; null on the last page.")

    @computed_field(description="Whether there is a next page.")  # type: ignore[prop-decorator]  # python/mypy#1362
    @property
    def has_more(self) -> bool:
        """Whether there is a next page."""
        return self.next_cursor is not None


class Request(Message, Generic[Reply]):
    """A request to one service; `Reply` is the type of its reply unless it refuses."""

    subject: ClassVar[str]

    @classmethod
    def reply_type(cls) -> type[Reply]:
        """Return the class in `Request[...]`. Raises `TypeError` if there is none."""
        for base in cls.__mro__:
            if args := getattr(base, "__pydantic_generic_metadata__", {}).get("args", ()):
                return cast("type[Reply]", args[0])
        raise TypeError(f"{cls.__name__} has no reply type")


class Command(Message):
    """A durable command: stored in a stream under a separate subject until it is processed."""

    subject: ClassVar[str]
    """The subject, with a placeholder such as `{paymentId}` for the id of the command."""

    id: UUID

    @property
    def address(self) -> str:
        """The subject of this command."""
        return self.address_of(self.id)

    @classmethod
    def address_of(cls, command_id: UUID) -> str:
        """Return the subject of the command with this id."""
        return _PLACEHOLDER.sub(str(command_id), cls.subject)


class Event(Message):
    """A fact about one aggregate, delivered at least once, always with the same id, in the order of versions."""

    subject: ClassVar[str]

    @property
    def aggregate_id(self) -> UUID:
        """The id of the aggregate: `subject` of CloudEvents."""
        raise NotImplementedError

    @property
    def aggregate_version(self) -> int:
        """The version of the aggregate after this event; the first is 1."""
        raise NotImplementedError


class Done(Message):
    """An empty reply: the request succeeded."""

    model_config = example()
