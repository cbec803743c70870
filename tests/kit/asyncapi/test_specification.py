"""The generated AsyncAPI documents agree with the contracts and the streams."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from contracts.base import Event, Request
from contracts.streams import STREAMS
from kit.asyncapi.merging import merged
from mkstore import generated
from mkstore.documents import WHOLE
from mkstore.services import SERVICES
from tests.architecture.messages import COMMANDS, EVENTS, REQUESTS

DOCUMENTS: dict[str, Any] = {
    name: json.loads((generated.ROOT / f"asyncapi/{name}.json").read_text("utf-8"))
    for name in (WHOLE, *(spec.name for spec in SERVICES))
}
SYSTEM = DOCUMENTS[WHOLE]
MESSAGES = SYSTEM["components"]["messages"]
OPERATIONS = SYSTEM["operations"]


def resolve(document: Any, reference: dict[str, str]) -> Any:
    """Follow references to a value that is not a reference."""
    part: Any = reference
    while "$ref" in part:
        path = part["$ref"].removeprefix("#/").split("/")
        part = document
        for name in path:
            part = part[name]
    return part


def references(part: Any) -> Iterator[str]:
    """Return every reference below a part of a document."""
    if isinstance(part, dict):
        yield from [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        for inner in part.values():
            yield from references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from references(inner)


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_every_reference_resolves(document: Any) -> None:
    assert all(resolve(document, {"$ref": reference}) for reference in references(document))


@pytest.mark.parametrize("message", [*REQUESTS, *COMMANDS, *EVENTS])
def test_every_message_is_documented_under_its_subject(message: Any) -> None:
    channels = {channel["address"]: channel for channel in SYSTEM["channels"].values()}
    assert list(channels[message.subject]["messages"]) == [message.__name__]
    assert MESSAGES[message.__name__]["summary"]


@pytest.mark.parametrize("request_", REQUESTS)
def test_every_request_has_one_replier_and_its_replies(request_: type[Request[Any]]) -> None:
    (operation,) = [name for name in OPERATIONS if name.endswith(f".replies.{request_.__name__}")]
    reply = OPERATIONS[operation]["reply"]
    assert reply["address"]["location"] == "$message.header#/reply_to"
    replies = [resolve(SYSTEM, reference)["name"] for reference in reply["messages"]]
    assert replies == [request_.reply_type().__name__, "Problem"]
    assert OPERATIONS[operation]["x-nats"]["queueGroup"] == operation.split(".", maxsplit=1)[0]


@pytest.mark.parametrize("name", MESSAGES)
def test_example_is_valid(name: str) -> None:
    message = MESSAGES[name]
    (example,) = message["examples"]
    for part in ("headers", "payload"):
        schema = {**resolve(SYSTEM, message[part]), "components": SYSTEM["components"]}
        assert validator_for(schema, Draft202012Validator) is Draft202012Validator
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(example[part])


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_has_its_schema_version_as_a_constant(event: type[Event]) -> None:
    headers = resolve(SYSTEM, MESSAGES[event.__name__]["headers"])
    uri = f"urn:mkstore:schema:{event.subject}:{event.schema_version}"
    assert headers["properties"]["ce-dataschema"]["const"] == uri
    assert "ce-dataschema" in headers["required"]
    assert MESSAGES[event.__name__]["examples"][0]["headers"]["ce-dataschema"] == uri


def test_operations_are_named_by_role_and_message() -> None:
    text = json.dumps(SYSTEM)
    assert not re.search("SubscribeMessage|Subscribe\\b|/health", text)
    roles = {"replies", "requests", "consumes", "subscribes", "publishes", "dead-letters"}
    assert {(name.split(".")[1], name.split(".")[2]) for name in OPERATIONS} <= {
        (role, message) for role in roles for message in MESSAGES
    }


def test_channels_have_the_limits_of_their_stream() -> None:
    documented = {
        channel["x-nats"]["stream"]["name"]: channel["x-nats"]["stream"]
        for channel in SYSTEM["channels"].values()
        if "x-nats" in channel
    }
    assert set(documented) == {stream.name for stream in STREAMS}
    for stream in STREAMS:
        facts = documented[stream.name]
        assert facts["duplicateWindowSeconds"] == stream.duplicate_window.total_seconds()
        assert facts["maxAgeSeconds"] == (stream.max_age.total_seconds() if stream.max_age else None)
        assert (facts["retention"], facts["discard"]) == (stream.retention, stream.discard)


def test_every_operation_has_delivery_and_order() -> None:
    assert all({"role", "delivery", "order"} <= operation["x-nats"].keys() for operation in OPERATIONS.values())
    consumed = {name: operation["x-nats"] for name, operation in OPERATIONS.items() if ".consumes." in name}
    assert consumed["payments.consumes.CreatePayment"]["consumer"] == {
        "durable": "payments-create_payment",
        "filterSubject": "payments.create.key.*",
        "ackPolicy": "explicit",
        "ackWaitSeconds": 10.0,
        "maxAckPending": 1000,
        "maxDeliver": -1,
    }
    assert {facts["deadLetterSubject"].partition(".")[0] for facts in consumed.values()} == {"dead"}
    assert all(
        {"attempts", "firstDelaySeconds", "maxDelaySeconds"} <= facts["retries"].keys() for facts in consumed.values()
    )


def test_each_document_lists_its_refusals() -> None:
    def slugs(document: Any) -> set[str]:
        return {refusal["slug"] for refusal in document["components"]["messages"]["Problem"]["x-problems"]}

    assert {"email-taken", "user-not-found", "internal-error"} <= slugs(DOCUMENTS["users"])
    assert "email-taken" not in slugs(DOCUMENTS["payments"])
    assert slugs(SYSTEM) == slugs(DOCUMENTS["users"]) | slugs(DOCUMENTS["payments"])


def test_conflicting_schemas_of_one_name_are_refused() -> None:
    other = json.loads(json.dumps(DOCUMENTS["payments"]))
    other["components"]["schemas"]["PaymentView"]["properties"]["amount"]["type"] = "string"
    with pytest.raises(ValueError, match="two schemas have the same name: PaymentView"):
        merged({"gateway": DOCUMENTS["gateway"], "payments": other}, title="x", description="y")
