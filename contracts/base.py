"""Base classes of all messages on the wire."""

import json
import re
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, TypeVar, cast
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, computed_field
from pydantic.alias_generators import to_camel

Reply = TypeVar("Reply", bound="Message")
Item = TypeVar("Item", bound="Message")
AnyCommand = TypeVar("AnyCommand", bound="Command")
AnyBatchItem = TypeVar("AnyBatchItem", bound="BatchItem[Any]")

Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""A string that PostgreSQL can store: Unicode text without NUL (pydantic rejects lone surrogates)."""

Instant = AwareDatetime
"""A point in time with a UTC offset; RFC 3339 in JSON."""

PageSize = Annotated[int, Field(ge=1, le=100, description="Maximum number of items in a page.")]

Cursor = Annotated[
    str, Field(max_length=200, description="Opaque position of the next page, from `nextCursor` of the previous page.")
]

IdempotencyKey = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[\x20-\x7e]+$")]
"""What a client calls a request by, so that its repetition is recognised: printable ASCII."""


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
        hide_input_in_errors=True,  # an error in the log would show a password or a token
    )


def _type_argument(cls: type[Message], what: str) -> Any:
    for base in cls.__mro__:
        if args := getattr(base, "__pydantic_generic_metadata__", {}).get("args", ()):
            return args[0]
    raise TypeError(f"{cls.__name__} has no {what} type")


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
        return cast("type[Reply]", _type_argument(cls, "reply"))


class DurableCommand(Message):
    """A command, or a batch of them: stored in a stream under a separate subject until it is processed."""

    subject: ClassVar[str]
    """The subject, with a placeholder such as `{paymentId}` for the id of the command, or `{batch}`."""

    @property
    def address(self) -> str:
        """The subject of this message."""
        raise NotImplementedError


class Command(DurableCommand):
    """A durable command: stored in a stream under a separate subject until it is processed."""

    id: UUID

    @property
    def address(self) -> str:
        """The subject of this command."""
        return self.address_of(self.id)

    @classmethod
    def address_of(cls, command_id: UUID) -> str:
        """Return the subject of the command with this id."""
        return _PLACEHOLDER.sub(str(command_id), cls.subject)


class BatchItem(Message, Generic[AnyCommand]):
    """A command of a batch, with what a single message has in its headers.

    Each batch has a subclass, whose name is that of the schema in the documents.
    """

    command: AnyCommand
    request_id: str = Field("", description="Id of the HTTP request that caused the command; empty if there is none.")
    traceparent: str = Field("", description="Trace of that request (W3C Trace Context); empty if there is none.")


class InvalidItem(NamedTuple):
    """An item of a batch that does not fit its contract."""

    content: Any
    """The item as JSON values."""
    error: ValidationError


class CommandBatch(DurableCommand, Generic[AnyBatchItem]):
    """Commands that arrived together, in one durable message.

    Each of them is handled, retried and dead-lettered alone, as if it were a single message; the message is
    acknowledged when none of them is left.
    """

    batch: str
    items: tuple[AnyBatchItem, ...]

    @property
    def address(self) -> str:
        """The subject of this batch."""
        return _PLACEHOLDER.sub(self.batch, self.subject)

    @classmethod
    def read_each(cls, body: bytes) -> "list[AnyBatchItem | InvalidItem]":
        """Return the items of a batch in JSON; one that is invalid does not affect the others.

        Raises pydantic's `ValidationError` if `body` has no items.
        """
        try:
            return list(cls.model_validate_json(body).items)
        except ValidationError as error:
            try:
                items = json.loads(body)[cls.model_fields["items"].alias or "items"]
            except (ValueError, TypeError, KeyError, RecursionError):
                raise error from None
            if not isinstance(items, list) or not items:
                raise
            return [cls._read(item) for item in items]

    @classmethod
    def _read(cls, item: Any) -> "AnyBatchItem | InvalidItem":
        try:
            return cls.item_type().model_validate(item)
        except ValidationError as error:
            return InvalidItem(item, error)

    @classmethod
    def item_type(cls) -> type[AnyBatchItem]:
        """Return the class in `CommandBatch[...]`. Raises `TypeError` if there is none."""
        return cast("type[AnyBatchItem]", _type_argument(cls, "item"))

    @classmethod
    def command_type(cls) -> type[Command]:
        """Return the class of the commands in the batch."""
        return cast("type[Command]", cls.item_type().model_fields["command"].annotation)


class Event(Message):
    """A fact about one aggregate, delivered at least once, always with the same id, in the order of versions."""

    subject: ClassVar[str]
    schema_version: ClassVar[int] = 1
    """The version of its schema, in the header `ce-dataschema`; a breaking change needs the next one."""

    @property
    def aggregate_id(self) -> UUID:
        """The id of the aggregate: `subject` of CloudEvents."""
        raise NotImplementedError

    @property
    def aggregate_version(self) -> int:
        """The version of the aggregate after this event; the first is 1."""
        raise NotImplementedError


class State(Message):
    """The present state of one thing: its stream keeps the last message of each subject, and a new one replaces it."""

    subject: ClassVar[str]
    """The subject, with a placeholder for the key, such as `revocations.user.{userId}`."""

    @property
    def key(self) -> str:
        """What the state belongs to, as a part of the subject."""
        raise NotImplementedError

    @property
    def address(self) -> str:
        """The subject of this message."""
        return _PLACEHOLDER.sub(self.key, self.subject)


class Done(Message):
    """An empty reply: the request succeeded."""

    model_config = example()
