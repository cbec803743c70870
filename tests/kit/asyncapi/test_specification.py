"""The documents: what each says of every message, and that it is what the contracts and the streams say."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for

from contracts.base import Request
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


def found(document: Any, reference: dict[str, str]) -> Any:
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
def test_every_reference_leads_somewhere(document: Any) -> None:
    assert all(found(document, {"$ref": reference}) for reference in references(document))


@pytest.mark.parametrize("message", [*REQUESTS, *COMMANDS, *EVENTS])
def test_every_message_of_the_contracts_is_documented_under_its_subject(message: Any) -> None:
    channels = {channel["address"]: channel for channel in SYSTEM["channels"].values()}
    assert list(channels[message.subject]["messages"]) == [message.__name__]
    assert MESSAGES[message.__name__]["summary"]


@pytest.mark.parametrize("request_", REQUESTS)
def test_every_request_has_one_who_answers_and_says_with_what(request_: type[Request[Any]]) -> None:
    (answers,) = [name for name in OPERATIONS if name.endswith(f".replies.{request_.__name__}")]
    reply = OPERATIONS[answers]["reply"]
    assert reply["address"]["location"] == "$message.header#/reply_to"
    told = [found(SYSTEM, reference)["name"] for reference in reply["messages"]]
    assert told == [request_.reply_type().__name__, "Problem"]
    assert OPERATIONS[answers]["x-nats"]["queueGroup"] == answers.split(".", maxsplit=1)[0]


@pytest.mark.parametrize("name", MESSAGES)
def test_an_example_fits_its_schemas(name: str) -> None:
    message = MESSAGES[name]
    (example,) = message["examples"]
    for part in ("headers", "payload"):
        schema = {**found(SYSTEM, message[part]), "components": SYSTEM["components"]}
        assert validator_for(schema, Draft202012Validator) is Draft202012Validator
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(example[part])


def test_no_name_is_that_of_a_function_and_no_route_of_a_health_check_is_told() -> None:
    text = json.dumps(SYSTEM)
    assert not re.search("SubscribeMessage|Subscribe\\b|/health", text)
    roles = {"replies", "requests", "consumes", "subscribes", "publishes", "dead-letters"}
    assert {(name.split(".")[1], name.split(".")[2]) for name in OPERATIONS} <= {
        (role, message) for role in roles for message in MESSAGES
    }


def test_what_a_stream_keeps_says_for_how_long_and_what_is_sent_twice() -> None:
    told = {
        channel["x-nats"]["stream"]["name"]: channel["x-nats"]["stream"]
        for channel in SYSTEM["channels"].values()
        if "x-nats" in channel
    }
    assert set(told) == {stream.name for stream in STREAMS}
    for stream in STREAMS:
        about = told[stream.name]
        assert about["duplicateWindowSeconds"] == stream.duplicate_window.total_seconds()
        assert about["maxAgeSeconds"] == (stream.max_age.total_seconds() if stream.max_age else None)
        assert (about["retention"], about["discard"]) == (stream.retention, stream.discard)


def test_every_operation_says_how_it_is_delivered_and_in_which_order() -> None:
    assert all({"role", "delivery", "order"} <= operation["x-nats"].keys() for operation in OPERATIONS.values())
    taken = {name: operation["x-nats"] for name, operation in OPERATIONS.items() if ".consumes." in name}
    assert taken["payments.consumes.CreatePayment"]["consumer"] == {
        "durable": "payments-create_payment",
        "filterSubject": "payments.create.*",
        "ackPolicy": "explicit",
        "ackWaitSeconds": 10.0,
        "maxAckPending": 1000,
        "maxDeliver": -1,
    }
    assert {facts["deadLetterSubject"].partition(".")[0] for facts in taken.values()} == {"dead"}
    assert all(
        {"attempts", "firstDelaySeconds", "maxDelaySeconds"} <= facts["retries"].keys() for facts in taken.values()
    )


def test_who_reads_a_service_alone_finds_its_refusals_and_in_the_whole_system_are_all() -> None:
    def slugs(document: Any) -> set[str]:
        return {refusal["slug"] for refusal in document["components"]["messages"]["Problem"]["x-problems"]}

    assert {"email-taken", "user-not-found", "internal-error"} <= slugs(DOCUMENTS["users"])
    assert "email-taken" not in slugs(DOCUMENTS["payments"])
    assert slugs(SYSTEM) == slugs(DOCUMENTS["users"]) | slugs(DOCUMENTS["payments"])


def test_services_that_say_different_things_under_one_name_make_no_document() -> None:
    other = json.loads(json.dumps(DOCUMENTS["payments"]))
    other["components"]["schemas"]["PaymentView"]["properties"]["amount"]["type"] = "string"
    with pytest.raises(ValueError, match="two schemas have the same name: PaymentView"):
        merged({"gateway": DOCUMENTS["gateway"], "payments": other}, title="x", description="y")
