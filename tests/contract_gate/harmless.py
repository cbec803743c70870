"""Risky and safe mutations of the small system, with the expected change id."""

from copy import deepcopy
from typing import Any

from contract_gate.sources import Documents
from tests.contract_gate.mutating import (
    FORM,
    GET,
    NEW_USER,
    NULL,
    POST,
    SHOW,
    TEXT,
    USER,
    Mutate,
    Mutation,
    become,
    cut,
    drop,
    every,
    facts,
    field,
    http,
    operation,
    put,
    removed,
    required,
    service,
    stream,
    together,
    without,
)


def renamed_schema(old: str, new: str) -> Mutate:
    """Rename a schema in every document."""

    def mutate(system: Documents) -> None:
        for document in system.events:
            schemas = document["components"]["schemas"]
            schemas[new] = schemas.pop(old)
            _point(document, f"#/components/schemas/{old}", f"#/components/schemas/{new}")

    return mutate


def _point(part: Any, old: str, new: str) -> None:
    if isinstance(part, dict):
        if part.get("$ref") == old:
            part["$ref"] = new
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            _point(inner, old, new)


def renamed_operation(old: str, new: str) -> Mutate:
    def mutate(system: Documents) -> None:
        for operations in every(system, "operations"):
            if old in operations:
                operations[new] = operations.pop(old)

    return mutate


def renamed_message(system: Documents) -> None:
    for document in system.events:
        messages = document["channels"]["users.create"]["messages"]
        messages["NewUser"] = messages.pop("CreateUser")
        _point(document, "#/channels/users.create/messages/CreateUser", "#/channels/users.create/messages/NewUser")


def inlined(schema: str, name: str, target: str) -> Mutate:
    """Inline the schema that a field refers to."""

    def mutate(system: Documents) -> None:
        for schemas in every(system, "components", "schemas"):
            schemas[schema]["properties"][name] = deepcopy(schemas[target])

    return mutate


def moved_path(old: str, new: str, parameter: str) -> Mutate:
    def mutate(system: Documents) -> None:
        paths = system.http[0]["paths"]
        paths[new] = paths.pop(old)
        for item in paths[new].values():
            item["parameters"][0]["name"] = parameter

    return mutate


def new_request(system: Documents) -> None:
    users = service(system, "users")
    users["operations"]["users.replies.DropUser"] = deepcopy(users["operations"]["users.replies.CreateUser"])
    users["channels"]["users.drop"] = users["channels"]["users.create"] | {"address": "users.drop"}
    users["operations"]["users.replies.DropUser"]["channel"] = {"$ref": "#/channels/users.drop"}


def swapped(schema: str, name: str, keyword: str) -> Mutate:
    """Reverse the members of a union."""

    def mutate(system: Documents) -> None:
        for schemas in every(system, "components", "schemas"):
            schemas[schema]["properties"][name][keyword].reverse()

    return mutate


def named_login(system: Documents) -> None:
    schemes = system.http[0]["components"]["securitySchemes"]
    schemes["bearer"] = schemes.pop("token") | {"description": "The same under another name."}
    for item in system.http[0]["paths"]["/users/{user_id}"].values():
        item["security"] = [{"bearer": []}]


RISKY = [
    Mutation("another default", "users.create/payload/role: default-changed", (), field("CreateUser", "role", default="admin")),
    Mutation("a field of a request is ignored", "users.create/payload/referrer: field-removed", (), removed("CreateUser", "referrer")),
    Mutation("an unknown keyword", "users.create/payload/name: if-changed", (), field("CreateUser", "name", **{"if": {"type": "string"}})),
    Mutation("a private format", "users.create/payload/referrer: format-added", (), field("CreateUser", "referrer", format="slug")),
    Mutation("a shorter duplicate window", "payments.create: duplicateWindowSeconds-lowered", (), stream("payments.create", duplicateWindowSeconds=60)),
    Mutation("events are stored for a day", "payment.created: maxAgeSeconds-lowered", (), stream("payment.created", maxAgeSeconds=86400)),
    Mutation("a stream gets a size limit", "payment.created: maxBytes-lowered", (), stream("payment.created", maxBytes=1000)),
    Mutation("smaller messages", "payments.create: maxMessageBytes-lowered", (), stream("payments.create", maxMessageBytes=1000)),
    Mutation("a full stream discards old messages", "payments.create: discard-changed", (), stream("payments.create", discard="old")),
    Mutation("another promise of delivery", "payment.created: delivery-changed", (), facts("payments.publishes.PaymentCreated", delivery="At most once.")),
    Mutation("another promise of order", "payment.created: order-changed", (), facts("payments.publishes.PaymentCreated", order="That of time.")),
    Mutation("another durable", "payments.consumes.UserCreated/consumer: durable-changed", (), put("operations", "payments.consumes.UserCreated", "x-nats", "consumer", durable="payments-users")),
    Mutation("a new refusal", "users/problems: problem-added too-young", (), put("components", "messages", "Problem", **{"x-problems": [{"slug": slug, "kind": kind} for slug, kind in (("email-taken", "invalid"), ("internal-error", "internal"), ("too-young", "invalid"))]})),
    Mutation("another host", "servers/production: host-changed", (), put("servers", "production", host="nats.example:4222")),
    Mutation("a new status", f"{SHOW}/410: status-added", (), http(*GET, "responses", **{"410": {"description": "Gone."}})),
    Mutation("a parameter is ignored", f"{SHOW}/query/fields: parameter-removed", (), cut(*GET, "parameters", "2")),
    Mutation("a parameter has another default", f"{SHOW}/query/limit: default-changed", (), http(*GET, "parameters", "3", "schema", default=50)),
    Mutation("another name for generated clients", "POST /users: operationId-changed", (), http(*POST, operationId="sign_up")),
]  # fmt: skip

SAFE = [
    Mutation("a new optional field in a request", "users.create/payload/nick: field-added", (), become("CreateUser", "nick", TEXT)),
    Mutation("a field is no longer required", "users.create/payload/password: required-removed", (), required("CreateUser", "email")),
    Mutation("null is accepted", "users.create/payload/referrer: type-added null", (), become("CreateUser", "referrer", {"anyOf": [TEXT, NULL]})),
    Mutation("a longer text in a request", "users.create/payload/email: maxLength-raised", (), field("CreateUser", "email", maxLength=1000)),
    Mutation("a text of any length", "users.create/payload/password: maxLength-raised", (), without("CreateUser", "password", "maxLength")),
    Mutation("a shorter minimum length", "users.create/payload/password: minLength-lowered", (), field("CreateUser", "password", minLength=6)),
    Mutation("another value is accepted", 'users.create/payload/role: value-added "auditor"', (), field("CreateUser", "role", enum=["user", "admin", "auditor"])),
    Mutation("any text is accepted", "users.create/payload/role: values-unlimited", (), without("CreateUser", "role", "enum")),
    Mutation("any format is accepted", "users.create/payload/email: format-removed", (), without("CreateUser", "email", "format")),
    Mutation("a number is also accepted", "users.create/payload/referrer: type-added number", (), field("CreateUser", "referrer", type=["string", "number"])),
    Mutation("a new optional header", "users.create/headers/Tenant: field-added", (), become("RequestHeaders", "Tenant", TEXT)),
    Mutation("more items in a request", "users.get_many/payload/ids: maxItems-raised", (), field("GetUsers", "ids", maxItems=5000)),
    Mutation("no items in a request", "users.get_many/payload/ids: minItems-lowered", (), without("GetUsers", "ids", "minItems")),
    Mutation("a wider range", "payments.create/payload/amount: maximum-raised", (), field("CreatePayment", "amount", maximum=10_000_000)),
    Mutation("fractions are accepted", "payments.create/payload/amount: type-widened number", (), field("CreatePayment", "amount", type="number")),
    Mutation("an equivalent bound", "", (), together(without("CreatePayment", "amount", "minimum"), field("CreatePayment", "amount", exclusiveMinimum=0))),
    Mutation("another variant is accepted", "payments.create/payload/method: variant-added Cash", (), field("CreatePayment", "method", oneOf=[{"$ref": "#/components/schemas/Card"}, {"$ref": "#/components/schemas/Transfer"}, {"title": "Cash", "type": "object", "properties": {"kind": {"const": "cash"}}, "required": ["kind"]}])),
    Mutation("a recursive schema has a new optional field", "payments.create/payload/category/note: field-added", (), become("Category", "note", TEXT)),
    Mutation("the variants in another order", "", (), swapped("CreatePayment", "method", "oneOf")),
    Mutation("a map has more entries", "payments.create/payload/metadata: maxProperties-raised", (), field("CreatePayment", "metadata", maxProperties=500)),
    Mutation("a map accepts anything", "payments.create/payload/metadata/*: other-fields-open", (), field("CreatePayment", "metadata", additionalProperties=True)),
    Mutation("a new field in a reply", "users.create/reply/UserView/payload/avatar: field-added", (), become("UserView", "avatar", TEXT)),
    Mutation("a field of a reply is always there", "users.create/reply/UserView/payload/nickname: required-added", (), required("UserView", "id", "email", "name", "role", "version", "nickname")),
    Mutation("a field of a reply is never null", "users.create/reply/UserView/payload/name: type-removed null", (), become("UserView", "name", TEXT)),
    Mutation("a reply has a shorter text", "users.create/reply/UserView/payload/email: maxLength-lowered", (), field("UserView", "email", maxLength=254)),
    Mutation("a reply documents its pattern", "users.create/reply/UserView/payload/nickname: pattern-added", (), field("UserView", "nickname", pattern="^[a-z]+$")),
    Mutation("a reply documents its format", "users.create/reply/UserView/payload/nickname: format-added", (), field("UserView", "nickname", format="email")),
    Mutation("a reply loses a value", 'users.create/reply/UserView/payload/role: value-removed "admin"', (), put("components", "schemas", "Role", enum=["user"])),
    Mutation("a refusal is removed", "users/problems: problem-removed email-taken", (), put("components", "messages", "Problem", **{"x-problems": [{"slug": "internal-error", "kind": "internal"}]})),
    Mutation("an event has a new field", "payment.created/payload/note: field-added", (), together(become("PaymentCreated", "note", TEXT), required("PaymentCreated", "id", "amount", "currency", "note"))),
    Mutation("an event's number is smaller", "payment.created/payload/amount: maximum-lowered", (), field("PaymentCreated", "amount", maximum=1_000_000)),
    Mutation("an event has a new header", "payment.created/headers/ce-source: field-added", (), become("EventHeaders", "ce-source", TEXT)),
    Mutation("other wording", "users.create/payload/email: wording-changed", (), field("CreateUser", "email", description="Where to write to.", title="Address", examples=["ada@example.com"])),
    Mutation("other wording of a message", "users.create: wording-changed", (), put("components", "messages", "CreateUser", summary="Make a user.", title="Make", examples=[{"payload": {}}])),
    Mutation("other wording of an operation", "payment.created: wording-changed", (), operation("payments.publishes.PaymentCreated", description="It is paid.", tags=[{"name": "event"}])),
    Mutation("a renamed message", "users.create: message-renamed", (), renamed_message),
    Mutation("a renamed schema", "", (), renamed_schema("UserView", "Person")),
    Mutation("a renamed recursive schema", "", (), renamed_schema("Category", "Kind")),
    Mutation("an inlined schema", "", (), inlined("UserCreated", "user", "UserView")),
    Mutation("null by a list of types", "", (), become("UserView", "name", {"type": ["null", "string"]})),
    Mutation("an enumeration of one for a constant", "", (), become("Card", "kind", {"type": "string", "enum": ["card"]})),
    Mutation("a limit moved into allOf", "", (), become("CreateUser", "password", {"allOf": [{"type": "string"}, {"minLength": 8}, {"maxLength": 128}]})),
    Mutation("fields and values in another order", "", (), together(required("UserView", "version", "role", "name", "email", "id"), field("CreatePayment", "currency", enum=["USD", "JPY", "EUR"]))),
    Mutation("a field is deprecated", "users.create/payload/referrer: deprecation-changed", (), field("CreateUser", "referrer", deprecated=True)),
    Mutation("a default is added", "users.create/payload/referrer: default-added", (), field("CreateUser", "referrer", default="nobody")),
    Mutation("a new request", "users.drop: operation-added users.replies.DropUser", (), new_request),
    Mutation("a request is no longer sent", "gateway.requests.CreateUser: operation-removed gateway.requests.CreateUser", (), drop("operations", "gateway.requests.CreateUser")),
    Mutation("an event is no longer consumed", "payments.consumes.UserCreated: operation-removed payments.consumes.UserCreated", (), drop("operations", "payments.consumes.UserCreated")),
    Mutation("a renamed operation", "payments.consumes.CreatePayment: operation-renamed", (), renamed_operation("payments.consumes.CreatePayment", "payments.consumes.MakePayment")),
    Mutation("a renamed parameter", "payments.create: parameter-renamed", (), put("channels", "payments.create", address="payments.create.{id}", parameters={"id": {"location": "$message.payload#/id"}})),
    Mutation("events are stored longer", "payment.created: maxAgeSeconds-raised", (), stream("payment.created", maxAgeSeconds=None)),
    Mutation("a longer duplicate window", "payments.create: duplicateWindowSeconds-raised", (), stream("payments.create", duplicateWindowSeconds=600)),
    Mutation("a stream stores another subject", "payment.created: subject-added refund.*", (), stream("payment.created", subjects=["payment.*", "refund.*"])),
    Mutation("more time to acknowledge", "payments.consumes.CreatePayment/consumer: ackWaitSeconds-changed", (), put("operations", "payments.consumes.CreatePayment", "x-nats", "consumer", ackWaitSeconds=30)),
    Mutation("another server", "servers/spare: server-added", (), put("servers", spare={"host": "spare:4222", "protocol": "nats"})),
    Mutation("no login", "servers/production: login-eased", (), drop("servers", "production", "security")),
    Mutation("a new version", "", (), put("info", version="0.2.0")),
    Mutation("a new path", "GET /health: operation-added", (), http("paths", **{"/health": {"get": {"responses": {"200": {"description": "Well."}}}}})),
    Mutation("a new method", "HEAD /users: operation-added", (), http("paths", "/users", head={"responses": {"200": {"description": "Well."}}})),
    Mutation("a new optional parameter", f"{SHOW}/query/expand: parameter-added", (), http(*GET, "parameters", new={"name": "expand", "in": "query", "schema": TEXT})),
    Mutation("a header in another case", "", (), http(*GET, "parameters", "1", name="If-None-Match")),
    Mutation("a renamed path parameter", f"{SHOW}: parameter-renamed", (), moved_path("/users/{user_id}", "/users/{id}", "id")),
    Mutation("a parameter accepts more", f"{SHOW}/query/limit: maximum-raised", (), http(*GET, "parameters", "3", "schema", maximum=500)),
    Mutation("a new response header", f"{SHOW}/200/headers/Age: header-added", (), http(*GET, "responses", "200", "headers", Age={"schema": TEXT})),
    Mutation("a new field of a response", f"{SHOW}/200/role: field-added", (), http(*USER, "properties", role=TEXT)),
    Mutation("a new optional field of a body", "POST /users/request/role: field-added", (), http(*NEW_USER, "properties", role=TEXT)),
    Mutation("unknown fields of a body are accepted", "POST /users/request/*: other-fields-open", (), cut(*NEW_USER, "additionalProperties")),
    Mutation("a form accepts another value", 'POST /exports/request/format: value-added "xml"', (), http(*FORM, "properties", "format", enum=["csv", "json", "xml"])),
    Mutation("a body may be omitted", "POST /users/request: required-removed", (), http(*POST, "requestBody", required=False)),
    Mutation("another media type", "POST /users/request: media-type-added text/json", (), http(*POST, "requestBody", "content", **{"text/json": {"schema": {}}})),
    Mutation("no login for a route", "DELETE /users/{user_id}: login-eased", (), http("paths", "/users/{user_id}", "delete", security=[])),
    Mutation("a renamed login", "", (), named_login),
    Mutation("a route is deprecated", "POST /users: deprecation-changed", (), http(*POST, deprecated=True)),
    Mutation("other wording of a route", "POST /users: wording-changed", (), http(*POST, summary="Sign up", tags=["people"])),
]  # fmt: skip
