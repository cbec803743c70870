"""A small system of three services and an HTTP API, documented like ours, for the mutations."""

import json
from functools import cache
from typing import Any

from contract_gate.sources import Documents
from tests.contract_gate.http_document import http_api
from tests.contract_gate.writing import NULL, TEXT, TIME, UUID, Json, an_object, own, reference, schema


def system() -> Documents:
    """Return a fresh copy of the documents, which a test may change."""
    return Documents(*json.loads(_text()))


@cache
def unchanged() -> Documents:
    """Return the documents, the same object each time, which a test must not change."""
    return system()


@cache
def _text() -> str:
    return json.dumps([[_users(), _payments(), _gateway()], [http_api()]])


_SCHEMAS: Json = {
    "RequestHeaders": an_object(
        ["content-type"], **{"content-type": {"const": "application/json"}, "X-Request-Id": TEXT}
    ),
    "CommandHeaders": an_object(["Nats-Msg-Id"], **{"Nats-Msg-Id": TEXT, "traceparent": TEXT}),
    "EventHeaders": an_object(
        ["ce-id", "ce-type", "ce-time"],
        **{"ce-id": TEXT, "ce-type": TEXT, "ce-time": TIME, "traceparent": {"anyOf": [TEXT, NULL], "default": None}},
    ),
    "ReplyHeaders": an_object([], **{"X-Request-Id": TEXT}),
    "ProblemHeaders": an_object(
        ["Nats-Service-Error-Code"], **{"Nats-Service-Error-Code": {"pattern": "^[0-9]+$", **TEXT}}
    ),
    "Problem": an_object(
        ["kind", "slug", "detail"],
        kind={"type": "string", "enum": ["invalid", "not-found", "internal"]},
        slug=TEXT,
        detail=TEXT,
    ),
    "CreateUser": an_object(
        ["email", "password"],
        email={"type": "string", "format": "email", "maxLength": 320},
        password={"type": "string", "minLength": 8, "maxLength": 128},
        name={"anyOf": [{"type": "string", "maxLength": 100}, NULL], "default": None},
        role={"type": "string", "enum": ["user", "admin"], "default": "user"},
        referrer=TEXT,
    ),
    "GetUsers": an_object(["ids"], ids={"type": "array", "items": UUID, "minItems": 1, "maxItems": 1000}),
    "Role": {"type": "string", "enum": ["user", "admin"], "description": "Role of a user."},
    "UserView": an_object(
        ["id", "email", "name", "role", "version"],
        id=UUID,
        email={"type": "string", "maxLength": 320},
        name={"anyOf": [TEXT, NULL]},
        role=schema("Role"),
        version={"type": "integer", "minimum": 1},
        nickname=TEXT,
    ),
    "UserList": an_object(["data"], data={"type": "array", "items": schema("UserView"), "maxItems": 1000}),
    "UserCreated": an_object(["user"], user=schema("UserView")),
    "Category": an_object(
        ["name"],
        name=TEXT,
        parent={"anyOf": [schema("Category"), NULL]},
        children={"type": "array", "items": schema("Category")},
    ),
    "Card": {
        "title": "Card",
        **an_object(["kind", "number"], kind={"const": "card"}, number={"type": "string", "minLength": 12}),
    },
    "Transfer": {"title": "Transfer", **an_object(["kind", "iban"], kind={"const": "transfer"}, iban=TEXT)},
    "CreatePayment": an_object(
        ["id", "amount"],
        id=UUID,
        amount={"type": "integer", "minimum": 1, "maximum": 1_000_000},
        currency={"type": "string", "enum": ["EUR", "USD", "JPY"], "default": "USD"},
        metadata={
            "type": "object",
            "maxProperties": 50,
            "propertyNames": {"maxLength": 40},
            "additionalProperties": {"type": "string", "maxLength": 500},
        },
        method={"oneOf": [schema("Card"), schema("Transfer")]},
        category=schema("Category"),
        discount={"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    ),
    "PaymentCreated": an_object(
        ["id", "amount", "currency"],
        id=UUID,
        amount={"type": "integer", "minimum": 1},
        currency={"type": "string", "enum": ["EUR", "USD", "JPY"]},
        createdAt=TIME,
    ),
    "DeadLetter": True,
}


def _message(name: str, kind: str, headers: str) -> Json:
    return {
        "name": name,
        "title": name,
        "contentType": "application/json",
        "tags": [{"name": kind}],
        "headers": schema(headers),
        "payload": schema(name),
        "examples": [],
    }


_MESSAGES = {
    "CreateUser": _message("CreateUser", "request", "RequestHeaders"),
    "GetUsers": _message("GetUsers", "request", "RequestHeaders"),
    "UserView": _message("UserView", "reply", "ReplyHeaders"),
    "UserList": _message("UserList", "reply", "ReplyHeaders"),
    "Problem": _message("Problem", "problem", "ProblemHeaders")
    | {"x-problems": [{"slug": "email-taken", "kind": "invalid"}, {"slug": "internal-error", "kind": "internal"}]},
    "UserCreated": _message("UserCreated", "event", "EventHeaders"),
    "CreatePayment": _message("CreatePayment", "command", "CommandHeaders"),
    "PaymentCreated": _message("PaymentCreated", "event", "EventHeaders"),
    "DeadLetter": _message("DeadLetter", "dead-letter", "ReplyHeaders"),
}


def _stream(name: str, subject: str, **more: Any) -> Json:
    defaults = {"retention": "limits", "discard": "old", "duplicateWindowSeconds": 600, "maxAgeSeconds": 604800}
    return {
        "stream": {
            "name": name,
            "subjects": [subject],
            **defaults,
            "maxBytes": None,
            "maxMessageBytes": 1048576,
            **more,
        }
    }


_STREAMS = {
    "user.created": _stream("USER_EVENTS", "user.*"),
    "payment.created": _stream("PAYMENT_EVENTS", "payment.*"),
    "payments.create": _stream(
        "PAYMENT_COMMANDS",
        "payments.create.*",
        retention="workqueue",
        discard="new",
        duplicateWindowSeconds=120,
        maxBytes=1 << 30,
    ),
    "dead": _stream("DEAD_LETTERS", "dead.>", maxAgeSeconds=None),
}


def _channel(name: str, address: str | None, *messages: str, **parameters: Json) -> Json:
    channel: Json = {
        "address": address,
        "title": name,
        "messages": {message: reference("components", "messages", message) for message in messages},
    }
    if parameters:
        channel["parameters"] = parameters
    return channel | ({"x-nats": own(_STREAMS[name])} if name in _STREAMS else {})


_CHANNELS = {
    "users.create": _channel("users.create", "users.create", "CreateUser"),
    "users.create.reply": _channel("users.create.reply", None, "UserView", "Problem"),
    "users.get_many": _channel("users.get_many", "users.get_many", "GetUsers"),
    "users.get_many.reply": _channel("users.get_many.reply", None, "UserList", "Problem"),
    "user.created": _channel("user.created", "user.created", "UserCreated"),
    "payments.create": _channel(
        "payments.create",
        "payments.create.{paymentId}",
        "CreatePayment",
        paymentId={"location": "$message.payload#/id"},
    ),
    "payment.created": _channel("payment.created", "payment.created", "PaymentCreated"),
    "dead": _channel("dead", "dead.{subject}", "DeadLetter", subject={"description": "Original subject."}),
}


def _operation(role: str, channel: str, message: str, reply: str = "", **facts: Any) -> Json:
    operation: Json = {
        "action": "receive" if role in {"replies", "consumes", "subscribes"} else "send",
        "channel": reference("channels", channel),
        "title": f"{role} {message}",
        "messages": [reference("channels", channel, "messages", message)],
        "x-nats": {"role": role, "delivery": "At least once.", "order": "None.", **facts},
    }
    if reply:
        back = f"{channel}.reply"
        operation["reply"] = {
            "address": {"location": "$message.header#/reply_to"},
            "channel": reference("channels", back),
            "messages": [reference("channels", back, "messages", name) for name in (reply, "Problem")],
        }
    return operation


def _consumer(durable: str, subject: str) -> Json:
    return {
        "durable": durable,
        "filterSubject": subject,
        "ackPolicy": "explicit",
        "ackWaitSeconds": 10,
        "maxAckPending": 1000,
        "maxDeliver": -1,
    }


def _document(service: str, operations: Json) -> Json:
    return own(
        {
            "asyncapi": "3.0.0",
            "id": f"urn:mkstore:{service}",
            "info": {"title": f"mkstore {service}", "version": "0.1.0", "description": "A service."},
            "defaultContentType": "application/json",
            "servers": {
                "production": {
                    "host": "{host}:4222",
                    "protocol": "nats",
                    "variables": {"host": {"default": "nats"}},
                    "security": [reference("components", "securitySchemes", "login")],
                }
            },
            "channels": _CHANNELS,
            "operations": {f"{service}.{name}": operation for name, operation in operations.items()},
            "components": {
                "messages": _MESSAGES,
                "schemas": _SCHEMAS,
                "securitySchemes": {"login": {"type": "userPassword", "description": "Each service has its own."}},
            },
        }
    )


def _users() -> Json:
    return _document(
        "users",
        {
            "replies.CreateUser": _operation("replies", "users.create", "CreateUser", "UserView", queueGroup="users"),
            "replies.GetUsers": _operation("replies", "users.get_many", "GetUsers", "UserList", queueGroup="users"),
            "publishes.UserCreated": _operation("publishes", "user.created", "UserCreated", stream="USER_EVENTS"),
            "dead-letters.DeadLetter": _operation("dead-letters", "dead", "DeadLetter", stream="DEAD_LETTERS"),
        },
    )


def _payments() -> Json:
    return _document(
        "payments",
        {
            "consumes.CreatePayment": _operation(
                "consumes",
                "payments.create",
                "CreatePayment",
                stream="PAYMENT_COMMANDS",
                consumer=_consumer("payments-create", "payments.create.*"),
                deadLetterSubject="dead.payments.create.{paymentId}",
            ),
            "consumes.UserCreated": _operation(
                "consumes",
                "user.created",
                "UserCreated",
                stream="USER_EVENTS",
                consumer=_consumer("payments-user_created", "user.created"),
            ),
            "publishes.PaymentCreated": _operation(
                "publishes", "payment.created", "PaymentCreated", stream="PAYMENT_EVENTS"
            ),
        },
    )


def _gateway() -> Json:
    return _document(
        "gateway",
        {
            "requests.CreateUser": _operation("requests", "users.create", "CreateUser", "UserView"),
            "requests.GetUsers": _operation("requests", "users.get_many", "GetUsers", "UserList"),
            "publishes.CreatePayment": _operation(
                "publishes", "payments.create", "CreatePayment", stream="PAYMENT_COMMANDS"
            ),
            "subscribes.PaymentCreated": _operation(
                "subscribes", "payment.created", "PaymentCreated", stream="PAYMENT_EVENTS", consumer={"ordered": True}
            ),
        },
    )
