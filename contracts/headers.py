"""The headers of every message on the wire: what each is called, means, and looks like."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

_TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_REQUEST = "0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01"
_EVENT = "5f0c7f7e-5d0e-4a38-9d5f-2f6a7f1c9b10"

Whole = Annotated[str, Field(pattern=r"^[0-9]+$")]
"""A whole number; on NATS every header is text."""


class _Headers(BaseModel):
    """What every message carries: JSON, and which request it belongs to where there was one."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    content_type: Literal["application/json"] = Field(alias="content-type", examples=["application/json"])
    request_id: str | None = Field(
        None, alias="X-Request-Id", description="Of the HTTP request that began it all.", examples=[_REQUEST]
    )
    traceparent: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$",
        description="Its trace (W3C Trace Context).",
        examples=[_TRACE],
    )


class RequestHeaders(_Headers):
    """Of a request; the reply goes to the message's own reply subject."""

    correlation_id: str | None = Field(
        None, description="Comes back with the reply; the reply subject tells them apart already.", examples=[_REQUEST]
    )


class ReplyHeaders(BaseModel):
    """Of the reply to a request that was not refused."""

    model_config = _Headers.model_config

    content_type: Literal["application/json"] = Field(alias="content-type", examples=["application/json"])
    correlation_id: str | None = Field(None, description="That of the request, or a new one.", examples=[_REQUEST])


class ProblemHeaders(ReplyHeaders):
    """Of the reply to a request that was refused, as in NATS's service protocol (ADR-32)."""

    service_error: str = Field(
        alias="Nats-Service-Error", description="The problem's `slug`.", examples=["email-taken"]
    )
    service_error_code: str = Field(
        alias="Nats-Service-Error-Code", description="The problem's `kind`.", examples=["conflict"]
    )


class CommandHeaders(RequestHeaders):
    """Of a durable command; JetStream reads those that begin with `Nats-`."""

    message_id: str = Field(
        alias="Nats-Msg-Id",
        description="The command's id: a second message with it is dropped within the stream's duplicate window.",
        examples=["6f1ed002-ab59-8f12-9a34-d5a3f9b1c7e2"],
    )
    expected_stream: str | None = Field(
        None,
        alias="Nats-Expected-Stream",
        description="The command is refused where another stream would take it.",
        examples=["PAYMENT_COMMANDS"],
    )
    expected_last: Whole | None = Field(
        None,
        alias="Nats-Expected-Last-Subject-Sequence",
        description="0: the command is refused while one with its id waits.",
        examples=["0"],
    )


class EventHeaders(_Headers):
    """Of an event: CloudEvents 1.0 in NATS's binary mode; JetStream reads those that begin with `Nats-`."""

    message_id: str = Field(
        alias="Nats-Msg-Id", description="The same as `ce-id`: sent twice, it is kept once.", examples=[_EVENT]
    )
    spec_version: Literal["1.0"] = Field(alias="ce-specversion", examples=["1.0"])
    id: str = Field(alias="ce-id", description="The event's own id, however often it is delivered.", examples=[_EVENT])
    type: str = Field(alias="ce-type", description="The subject it is sent under.", examples=["payment.created"])
    source: str = Field(alias="ce-source", description="Who sends it.", examples=["mkstore/payments"])
    subject: str = Field(
        alias="ce-subject",
        description="The id of the user or payment that it is about.",
        examples=["6f1ed002-ab59-8f12-9a34-d5a3f9b1c7e2"],
    )
    time: AwareDatetime = Field(
        alias="ce-time", description="When it happened.", examples=["2026-01-31T12:00:00.125000Z"]
    )
    aggregate_version: Whole = Field(
        alias="ce-aggregateversion",
        description="The version that the user or payment has since; the first is 1. What is older than what you have "
        "seen is out of date.",
        examples=["1"],
    )
    expected_last: Whole | None = Field(
        None,
        alias="Nats-Expected-Last-Sequence",
        description="The message that it follows in the stream: nothing can come between.",
        examples=["41"],
    )
    batch_id: str | None = Field(
        None, alias="Nats-Batch-Id", description="Of the events that were kept together with it (NATS ADR-50)."
    )
    batch_sequence: Whole | None = Field(None, alias="Nats-Batch-Sequence", description="Its place among them.")
    batch_commit: Literal["1"] | None = Field(None, alias="Nats-Batch-Commit", description="On the last of them.")


class DeadLetterHeaders(BaseModel):
    """Of a message that could not be handled: those that it had, without `Nats-`, and its story."""

    model_config = _Headers.model_config | ConfigDict(extra="allow")

    message_id: str = Field(
        alias="Nats-Msg-Id",
        description="Stream, sequence and consumer that it failed in: buried once.",
        examples=["PAYMENT_COMMANDS.17.payments-create_payment"],
    )
    reason: str = Field(alias="Dead-Reason", description="The name of the error.", examples=["ValidationError"])
    detail: str = Field(
        alias="Dead-Detail",
        max_length=500,
        description="What the error said, in ASCII; prose.",
        examples=["1 validation error for CreatePayment"],
    )
    attempts: Whole = Field(alias="Dead-Attempts", description="So often it was tried.", examples=["1"])
    first_time: AwareDatetime = Field(
        alias="Dead-First-Time", description="When it came into its stream.", examples=["2026-01-31T12:00:00+00:00"]
    )
    last_time: AwareDatetime = Field(
        alias="Dead-Last-Time", description="When it was given up.", examples=["2026-01-31T12:00:01+00:00"]
    )
    stream: str = Field(alias="Dead-Stream", description="Where it came from.", examples=["PAYMENT_COMMANDS"])
    consumer: str = Field(
        alias="Dead-Consumer", description="Whose consumer gave it up.", examples=["payments-create_payment"]
    )


def header_example(headers: type[BaseModel]) -> dict[str, str]:
    """Return what a message's headers look like: each that has an example, by its name on the wire."""
    return {
        field.alias or name: str(field.examples[0]) for name, field in headers.model_fields.items() if field.examples
    }


def source_of(service: str) -> str:
    """Return what CloudEvents calls a service's events' `source`."""
    return f"mkstore/{service}"
