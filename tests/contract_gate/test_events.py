"""Every messaging rule that is not a schema rule, in both directions, and contract ownership."""

import pytest

from contract_gate.changes import Severity
from contract_gate.events import compare_events
from contract_gate.sources import Documents
from tests.contract_gate.documents import system, unchanged
from tests.contract_gate.mutating import (
    NULL,
    TEXT,
    Mutate,
    become,
    drop,
    facts,
    field,
    operation,
    put,
    service,
    stream,
    together,
)

BREAKING, RISKY, SAFE = Severity.BREAKING, Severity.RISKY, Severity.SAFE


def changed(mutate: Mutate) -> Documents:
    documents = system()
    mutate(documents)
    return documents


def levels(old: Documents, new: Documents) -> dict[str, Severity]:
    return {change.id: change.severity for change in compare_events(old.events, new.events)}


CREATE, REPLY = "users.replies.CreateUser", "users.create.reply"
CORRELATED = put("components", "messages", "CreateUser", correlationId={"location": "$message.header#/id"})
LATER = put("servers", "production", security=[{"type": "X509"}])
ANY_OF_TWO = put("servers", "production", security=[{"type": "X509"}, {"type": "userPassword"}])
AVRO = put("components", "messages", "CreateUser", payload={"schemaFormat": "avro", "schema": {}})
LISTED = put("channels", "payments.create", "parameters", "paymentId", enum=["a", "b"])


def only_problem(system: Documents) -> None:
    for document in system.events:
        if CREATE in document["operations"]:
            document["operations"][CREATE]["reply"]["messages"] = [{"$ref": f"#/channels/{REPLY}/messages/Problem"}]


def only_view(system: Documents) -> None:
    for document in system.events:
        if CREATE in document["operations"]:
            document["operations"][CREATE]["reply"]["messages"] = [{"$ref": f"#/channels/{REPLY}/messages/UserView"}]


# a mutation, id and severity of the change, id and severity of the change back
RULES: list[tuple[Mutate, str, Severity, str, Severity]] = [
    (only_problem, "users.create/reply: message-removed UserView", BREAKING, "users.create/reply: message-added UserView", BREAKING),
    (only_view, "users.create/reply: message-removed Problem", SAFE, "users.create/reply: message-added Problem", BREAKING),
    (drop("operations", CREATE, "reply"), "users.create/reply: reply-removed", BREAKING, "users.create/reply: reply-added", SAFE),
    (drop("operations", CREATE), f"users.create: operation-removed {CREATE}", BREAKING, f"users.create: operation-added {CREATE}", SAFE),
    (CORRELATED, "users.create: correlation-changed", SAFE, "users.create: correlation-changed", BREAKING),
    (AVRO, "users.create/payload: schema-format-changed", BREAKING, "users.create/payload: schema-format-changed", BREAKING),
    (LISTED, "payments.create/parameters/paymentId: values-limited", BREAKING, "payments.create/parameters/paymentId: values-unlimited", SAFE),
    (put("components", "messages", "UserCreated", tags=[{"name": "command"}]), "user.created: kind-changed", RISKY, "user.created: kind-changed", RISKY),
    (operation(CREATE, security=[{"type": "X509"}]), "users.create: login-changed", BREAKING, "users.create: login-eased", SAFE),
    (LATER, "servers/production: login-changed", BREAKING, "servers/production: login-changed", BREAKING),
    (ANY_OF_TWO, "servers/production: login-eased", SAFE, "servers/production: login-changed", BREAKING),
    (drop("servers", "production", "security"), "servers/production: login-eased", SAFE, "servers/production: login-changed", BREAKING),
    (drop("servers", "production"), "servers/production: server-removed", BREAKING, "servers/production: server-added", SAFE),
    (put("servers", "production", pathname="/nats"), "servers/production: pathname-changed", RISKY, "servers/production: pathname-changed", RISKY),
    (stream("payment.created", maxAgeSeconds=60), "payment.created: maxAgeSeconds-lowered", RISKY, "payment.created: maxAgeSeconds-raised", SAFE),
    (stream("payment.created", maxAgeSeconds=None), "payment.created: maxAgeSeconds-raised", SAFE, "payment.created: maxAgeSeconds-lowered", RISKY),
    (stream("payment.created", subjects=["payment.*", "a"]), "payment.created: subject-added a", SAFE, "payment.created: subject-removed a", BREAKING),
    (stream("payment.created", replicas=3), "payment.created: replicas-changed", RISKY, "payment.created: replicas-changed", RISKY),
    (drop("channels", "payment.created", "x-nats"), "payment.created: stream-changed", BREAKING, "payment.created: stream-changed", BREAKING),
    (facts("payments.consumes.CreatePayment", deadLetterSubject="dead.a"), "payments.create: deadLetterSubject-changed", RISKY, "payments.create: deadLetterSubject-changed", RISKY),
    (put("channels", "payment.created", "x-nats", limits={"rate": 1}), "payment.created: limits-changed", RISKY, "payment.created: limits-changed", RISKY),
]  # fmt: skip


@pytest.mark.parametrize(
    ("mutate", "forward", "level", "backward", "level_back"),
    RULES,
    ids=[f"{n} {row[1]}" for n, row in enumerate(RULES)],
)
def test_messaging_rule_in_both_directions(
    mutate: Mutate, forward: str, level: Severity, backward: str, level_back: Severity
) -> None:
    other = changed(mutate)
    assert levels(unchanged(), other)[forward] is level
    assert levels(other, unchanged())[backward] is level_back


@pytest.mark.parametrize("name", ["gateway", "payments"])
def test_copies_in_other_documents_are_not_compared(name: str) -> None:
    documents = system()
    for schema in ("UserCreated", "UserView", "CreateUser"):
        service(documents, name)["components"]["schemas"][schema] = {"type": "null"}
    assert levels(unchanged(), documents) == {}


def test_only_the_other_end_is_affected() -> None:
    documents = system()
    documents.events.append(service(unchanged(), "users") | {"id": "urn:mkstore:copy"})
    copy = documents.events[-1]
    copy["operations"] = {"copy.dead-letters.DeadLetter": copy["operations"]["users.dead-letters.DeadLetter"]}
    broken = changed(put("channels", "dead", address="parked.{subject}"))
    affected = {change.id: change.affects for change in compare_events(documents.events, broken.events)}
    assert affected["dead: address-changed"] == ()


def test_removed_service_breaks_its_clients() -> None:
    documents = system()
    documents.events[:] = [one for one in documents.events if one["id"] != "urn:mkstore:users"]
    changes = {change.id: change for change in compare_events(unchanged().events, documents.events)}
    assert changes[f"users.create: operation-removed {CREATE}"].affects == ("gateway.requests.CreateUser",)
    assert changes["user.created: operation-removed users.publishes.UserCreated"].affects == (
        "payments.consumes.UserCreated",
    )


def test_break_is_found_beside_safe_changes_of_a_message() -> None:
    mutate = together(
        become("CreateUser", "nick", TEXT),
        become("CreateUser", "referrer", NULL),
        field("CreateUser", "email", maxLength=999),
    )
    severities = levels(unchanged(), changed(mutate))
    assert severities["users.create/payload/referrer: type-removed string"] is BREAKING
    assert severities["users.create/payload/nick: field-added"] is SAFE
    assert severities["users.create/payload/email: maxLength-raised"] is SAFE
