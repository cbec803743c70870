"""The gate on our own documents: every contract is guarded, in its direction."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest

from contract_gate import gate, releases
from contract_gate.changes import Change, Direction, Severity
from contract_gate.operations import Message, Operation, operations
from contract_gate.references import followed
from contract_gate.sources import Documents, load
from mkstore import generated
from tests.contract_gate.writing import Json

BREAKING, RISKY, SAFE = Severity.BREAKING, Severity.RISKY, Severity.SAFE
OURS = load(generated.ROOT, str(generated.ROOT))
OWNED = [one for one in operations(OURS.events).values() if one.owned]


def copy() -> Documents:
    return Documents(json.loads(json.dumps(OURS.events)), json.loads(json.dumps(OURS.http)))


def carried(operation: Operation) -> Iterator[tuple[str, Direction, Message]]:
    """Yield the messages and replies of an operation with place and direction."""
    for message in operation.messages:
        yield operation.channel_id, operation.direction, message
    for message in operation.replies:
        yield f"{operation.channel_id}/reply/{message.name}", operation.direction.other, message


def plain(message: Message, part: str) -> Json:
    """Return a copy of the resolved schema of a message if it has required fields; else {}."""
    schema = followed(message.root, message.body.get(part, {}))
    return deepcopy(schema) if schema.get("properties") and schema.get("required") else {}


def add_required(schema: Json) -> str:
    schema["properties"]["more"] = {"type": "string"}
    schema["required"] = [*schema["required"], "more"]
    return "/more"


def add_optional(schema: Json) -> str:
    schema["properties"]["more"] = {"type": "string"}
    return "/more"


def drop(schema: Json) -> str:
    name = schema["required"].pop(0)
    del schema["properties"][name]
    return f"/{name}"


def make_optional(schema: Json) -> str:
    return f"/{schema['required'].pop(0)}"


def allow_null(schema: Json) -> str:
    name = schema["required"][0]
    schema["properties"][name] = {"anyOf": [schema["properties"][name], {"type": "null"}]}
    return f"/{name}"


def retype(schema: Json) -> str:
    name = schema["required"][0]
    schema["properties"][name] = {"type": "null"}
    return f"/{name}"


CHANGES: list[tuple[Callable[[Json], str], Severity, Severity]] = [
    (add_required, BREAKING, SAFE),
    (add_optional, SAFE, SAFE),
    (drop, RISKY, BREAKING),
    (make_optional, SAFE, BREAKING),
    (allow_null, SAFE, BREAKING),
    (retype, BREAKING, BREAKING),
]


def worst(changes: list[Change], place: str) -> Severity | None:
    severities = [one.severity for one in changes if one.place == place or one.place.startswith(f"{place}/")]
    return min(severities, key=lambda level: level.rank, default=None)


@pytest.mark.parametrize("part", ["payload", "headers"])
@pytest.mark.parametrize(("change", "received", "sent"), CHANGES, ids=[change[0].__name__ for change in CHANGES])
def test_every_message_is_guarded_in_its_direction(
    part: str, change: Callable[[Json], str], received: Severity, sent: Severity
) -> None:
    documents = copy()
    places = {}
    for operation in (one for one in operations(documents.events).values() if one.owned):
        for place, direction, message in list(carried(operation)):
            if schema := plain(message, part):
                places[f"{place}/{part}{change(schema)}"] = direction
                message.body[part] = schema
    assert len(places) >= 20
    changes = gate.compare(OURS, documents)
    expected = {place: received if direction is Direction.INPUT else sent for place, direction in places.items()}
    assert {place: worst(changes, place) for place in places} == expected


def mutate_channel(operation: Operation) -> None:
    operation.channel["address"] = f"{operation.channel['address']}.v2"


def mutate_type(operation: Operation) -> None:
    for message in operation.messages:
        message.body["contentType"] = "application/cbor"


def mutate_queue(operation: Operation) -> None:
    operation.body["x-nats"]["queueGroup"] = "another"


def mutate_action(operation: Operation) -> None:
    operation.body["action"] = "receive" if operation.body["action"] == "send" else "send"


def remove(operation: Operation) -> None:
    del operation.root["operations"][operation.id]


@pytest.mark.parametrize("mutate", [mutate_channel, mutate_type, mutate_queue, mutate_action, remove])
def test_every_operation_is_guarded(mutate: Callable[[Operation], None]) -> None:
    documents = copy()
    for operation in [one for one in operations(documents.events).values() if one.owned]:
        mutate(operation)
    changes = gate.compare(OURS, documents)
    assert {worst(changes, one.channel_id) for one in OWNED} == {BREAKING}


def test_removed_contracts_affect_every_operation_of_the_gateway() -> None:
    documents = copy()
    documents.events[:] = [one for one in documents.events if one["id"].endswith(":gateway")]
    affected = {name for change in gate.compare(OURS, documents) for name in change.affects}
    expected = {one.id for one in operations(documents.events).values()}
    assert expected <= affected


@pytest.mark.parametrize(
    ("code", "mutate"),
    [
        ("operation-removed", lambda item, method: item.pop(method)),
        (
            "required-added",
            lambda item, method: item[method].setdefault("parameters", []).append(_parameter(required=True)),
        ),
        ("status-removed", lambda item, method: item[method]["responses"].pop(next(iter(item[method]["responses"])))),
    ],
)
def test_every_route_is_guarded(code: str, mutate: Callable[[Any, str], None]) -> None:
    documents = copy()
    routes = [(path, method) for path, item in documents.http[0]["paths"].items() for method in list(item)]
    for path, method in routes:
        mutate(documents.http[0]["paths"][path], method)
    breaks = [one for one in gate.compare(OURS, documents) if one.code == code and one.severity is BREAKING]
    assert len(breaks) == len(routes)
    assert {one.affects for one in breaks} == {("HTTP clients",)}


def _parameter(**keywords: Any) -> Json:
    return {"name": "more", "in": "query", "schema": {"type": "string"}, **keywords}


def test_optional_parameter_on_every_route_is_safe() -> None:
    documents = copy()
    for item in documents.http[0]["paths"].values():
        for operation in item.values():
            operation.setdefault("parameters", []).append(_parameter())
    assert {change.severity for change in gate.compare(OURS, documents)} == {SAFE}


def test_current_documents_break_nothing_since_the_last_release() -> None:
    assert releases.newest(generated.ROOT) is not None
    report = gate.report(generated.ROOT, releases.NEWEST, OURS)
    assert report.passes, report.text()
