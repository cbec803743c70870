"""The headers of every message on the wire: name, meaning and example."""

from functools import lru_cache
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

REQUEST_ID = "X-Request-Id"
DEADLINE = "Deadline"
MAX_DEADLINE_DIGITS = 15
"""Enough for the next 30,000 years."""
MESSAGE_ID = "Nats-Msg-Id"
EXPECTED_STREAM = "Nats-Expected-Stream"
EXPECTED_LAST_SEQUENCE = "Nats-Expected-Last-Sequence"
EXPECTED_LAST_SUBJECT_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
BATCH_ID = "Nats-Batch-Id"
BATCH_SEQUENCE = "Nats-Batch-Sequence"
BATCH_COMMIT = "Nats-Batch-Commit"
REQUEST_INFO = "Nats-Request-Info"
DATA_SCHEMA = "ce-dataschema"
SERVICE_ERROR = "Nats-Service-Error"
SERVICE_ERROR_CODE = "Nats-Service-Error-Code"
STORED_STREAM = "Nats-Stream"
STORED_SUBJECT = "Nats-Subject"
STORED_SEQUENCE = "Nats-Sequence"
DEAD_REASON = "Dead-Reason"
DEAD_DETAIL = "Dead-Detail"
DEAD_ATTEMPTS = "Dead-Attempts"
DEAD_FIRST_TIME = "Dead-First-Time"
DEAD_LAST_TIME = "Dead-Last-Time"
DEAD_STREAM = "Dead-Stream"
DEAD_CONSUMER = "Dead-Consumer"

_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_REQUEST = "0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01"
_EVENT = "5f0c7f7e-5d0e-4a38-9d5f-2f6a7f1c9b10"

Whole = Annotated[str, Field(pattern=r"^[0-9]+$")]
"""A whole number, as text: NATS headers are text."""


class _Headers(BaseModel):
    """Headers of every message: content type, request id, trace and account."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    content_type: Literal["application/json"] = Field(alias="content-type", examples=["application/json"])
    request_id: str | None = Field(
        None, alias=REQUEST_ID, description="Id of the HTTP request that caused this message.", examples=[_REQUEST]
    )
    traceparent: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
        description="Trace of that request (W3C Trace Context).",
        examples=[_TRACE],
    )
    request_info: str | None = Field(
        None,
        alias=REQUEST_INFO,
        description="Added by NATS if the sender has another account: JSON with its name, `acc`.",
    )


class _RepliedHeaders(_Headers):
    """Headers of what may have a reply."""

    correlation_id: str | None = Field(
        None, description="Returned with the reply; optional, since the reply subject is unique.", examples=[_REQUEST]
    )


class RequestHeaders(_RepliedHeaders):
    """Headers of a request; the reply goes to the reply subject of the message."""

    deadline: Whole | None = Field(
        None,
        alias=DEADLINE,
        max_length=MAX_DEADLINE_DIGITS,
        description="Milliseconds since 1970 (UTC) until which the sender waits; later the request is not handled.",
        examples=["1769864400000"],
    )


class ReplyHeaders(BaseModel):
    """Headers of a successful reply."""

    model_config = _Headers.model_config

    content_type: Literal["application/json"] = Field(alias="content-type", examples=["application/json"])
    correlation_id: str | None = Field(
        None, description="Correlation id of the request, or a new one.", examples=[_REQUEST]
    )


class ProblemHeaders(ReplyHeaders):
    """Headers of a problem reply, as in the service protocol of NATS (ADR-32)."""

    service_error: str = Field(alias=SERVICE_ERROR, description="`slug` of the problem.", examples=["email-taken"])
    service_error_code: str = Field(
        alias=SERVICE_ERROR_CODE, description="`kind` of the problem.", examples=["conflict"]
    )


class CommandHeaders(_RepliedHeaders):
    """Headers of a durable command; JetStream evaluates those that begin with `Nats-`."""

    message_id: str | None = Field(
        None,
        alias=MESSAGE_ID,
        description="Id of a replayed dead letter; JetStream drops a second message with it within the duplicate "
        "window.",
    )
    expected_stream: str | None = Field(
        None,
        alias=EXPECTED_STREAM,
        description="The stream that must store the command; any other rejects it.",
    )
    expected_last: Whole | None = Field(
        None,
        alias=EXPECTED_LAST_SUBJECT_SEQUENCE,
        description="0: rejected while the stream has a command with the same id.",
        examples=["0"],
    )
    batch_id: str | None = Field(
        None,
        alias=BATCH_ID,
        description="Id of the atomic batch in which the command was published (NATS ADR-50).",
    )
    batch_sequence: Whole | None = Field(None, alias=BATCH_SEQUENCE, description="Position in the atomic batch.")
    batch_commit: Literal["1"] | None = Field(
        None, alias=BATCH_COMMIT, description="Present on the last message of the atomic batch."
    )


class StateHeaders(_Headers):
    """Headers of a state; JetStream evaluates those that begin with `Nats-`."""

    expected_last: Whole | None = Field(
        None,
        alias=EXPECTED_LAST_SUBJECT_SEQUENCE,
        description="Sequence of the state that this one replaces; rejected if there is a newer one.",
        examples=["41"],
    )


class EventHeaders(_Headers):
    """Headers of an event: CloudEvents 1.0 in binary mode; JetStream evaluates those that begin with `Nats-`."""

    message_id: str = Field(
        alias=MESSAGE_ID,
        description="Equal to `ce-id`; JetStream stores the event once within the duplicate window.",
        examples=[_EVENT],
    )
    spec_version: Literal["1.0"] = Field(alias="ce-specversion", examples=["1.0"])
    id: str = Field(alias="ce-id", description="Id of the event, the same for every delivery.", examples=[_EVENT])
    type: str = Field(alias="ce-type", description="Subject of the event.", examples=["payment.created"])
    source: str = Field(alias="ce-source", description="Publisher of the event.", examples=["mkstore/payments"])
    subject: str = Field(
        alias="ce-subject",
        description="Id of the user, payment, session or key.",
        examples=["6f1ed002-ab59-8f12-9a34-d5a3f9b1c7e2"],
    )
    time: AwareDatetime = Field(
        alias="ce-time", description="Time of the event.", examples=["2026-01-31T12:00:00.125000Z"]
    )
    aggregate_version: Whole = Field(
        alias="ce-aggregateversion",
        description="Version of the user or payment after the event; the first is 1. Ignore an event with "
        "an older version than the last one that you processed.",
        examples=["1"],
    )
    data_schema: str | None = Field(
        None,
        alias=DATA_SCHEMA,
        description="Schema of the event: `urn:mkstore:schema:`, its subject and the version of the schema, which a "
        "breaking change raises.",
    )
    expected_last: Whole | None = Field(
        None,
        alias=EXPECTED_LAST_SEQUENCE,
        description="Sequence of the previous message in the stream; rejected if another message is in between.",
        examples=["41"],
    )
    batch_id: str | None = Field(
        None,
        alias=BATCH_ID,
        description="Id of the atomic batch in which the event was published (NATS ADR-50).",
    )
    batch_sequence: Whole | None = Field(None, alias=BATCH_SEQUENCE, description="Position in the batch.")
    batch_commit: Literal["1"] | None = Field(
        None, alias=BATCH_COMMIT, description="Present on the last message of the batch."
    )


class StoredHeaders(BaseModel):
    """Headers that NATS adds to a stored message when it publishes it again, or returns it for a direct get."""

    model_config = _Headers.model_config

    stream: str = Field(alias="Nats-Stream", description="Name of the stream.", examples=["PAYMENT_EVENTS"])
    subject: str = Field(alias=STORED_SUBJECT, description="Original subject.", examples=["payment.created"])
    sequence: Whole = Field(alias=STORED_SEQUENCE, description="Sequence in the stream.", examples=["42"])
    last_sequence: Whole = Field(
        alias="Nats-Last-Sequence",
        description="Sequence of the message with the same subject before it; 0 for the first one.",
        examples=["40"],
    )
    time: AwareDatetime = Field(
        alias="Nats-Time-Stamp",
        description="Time at which it was stored.",
        examples=["2026-01-31T12:00:00.125000Z"],
    )


class DeadLetterHeaders(BaseModel):
    """Headers of a dead letter: the original ones except `Nats-`, and the failure."""

    model_config = _Headers.model_config | ConfigDict(extra="allow")

    message_id: str = Field(
        alias=MESSAGE_ID,
        description="Stream, sequence and consumer of the failure, and the id of a command, so that it is "
        "dead-lettered once.",
        examples=["KEYED_PAYMENT_COMMANDS.17.payments-create_payment.6f1ed002-ab59-8f12-9a34-d5a3f9b1c7e2"],
    )
    reason: str = Field(alias=DEAD_REASON, description="Name of the error.", examples=["ValidationError"])
    detail: str = Field(
        alias=DEAD_DETAIL,
        max_length=500,
        description="Message of the error, in ASCII.",
        examples=["1 validation error for CreatePayment"],
    )
    attempts: Whole = Field(alias=DEAD_ATTEMPTS, description="Number of delivery attempts.", examples=["1"])
    first_time: AwareDatetime = Field(
        alias=DEAD_FIRST_TIME,
        description="Time at which it was stored in its stream.",
        examples=["2026-01-31T12:00:00+00:00"],
    )
    last_time: AwareDatetime = Field(
        alias=DEAD_LAST_TIME, description="Time of the last attempt.", examples=["2026-01-31T12:00:01+00:00"]
    )
    stream: str = Field(alias=DEAD_STREAM, description="Original stream.", examples=["KEYED_PAYMENT_COMMANDS"])
    consumer: str = Field(
        alias=DEAD_CONSUMER, description="Durable consumer that failed.", examples=["payments-create_payment"]
    )


def header_example(headers: type[BaseModel]) -> dict[str, str]:
    """Return the example of each header that has one, by its name on the wire."""
    return {
        field.alias or name: str(field.examples[0]) for name, field in headers.model_fields.items() if field.examples
    }


def header_names(headers: type[BaseModel]) -> list[str]:
    """Return the names of the headers on the wire."""
    return [field.alias or name for name, field in headers.model_fields.items()]


def source_of(service: str) -> str:
    """Return the CloudEvents `source` of a service's events."""
    return f"mkstore/{service}"


@lru_cache
def data_schema(subject: str, version: int) -> str:
    """Return the URI of the schema of an event: `ce-dataschema` of CloudEvents."""
    return f"urn:mkstore:schema:{subject}:{version}"
