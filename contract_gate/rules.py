"""Every rule of the gate: its ids, and how severe it is for a contract that the owner receives or sends."""

from dataclasses import dataclass
from enum import StrEnum


class Category(StrEnum):
    """What a rule compares."""

    FIELD = "field"
    TYPE = "type"
    VALUE = "value"
    BOUND = "bound"
    FORM = "form"
    MESSAGE = "message"
    OPERATION = "operation"
    ADDRESS = "address"
    STREAM = "stream"
    SERVER = "server"
    HTTP = "HTTP"
    ANNOTATION = "annotation"
    OTHER = "other"


@dataclass(frozen=True)
class Rule:
    """A rule with one severity per direction, several of them in the order in which they apply."""

    ids: tuple[str, ...]
    category: Category
    received: str
    """For a request, a command or an HTTP request: whether its senders break."""
    sent: str
    """For a reply, an event or an HTTP response: whether its receivers break."""
    example: str


_COUNTS = ("Length", "Items", "Properties")
_LIMITS = (
    "duplicateWindowSeconds",
    "maxAgeSeconds",
    "maxBytes",
    "maxMessages",
    "maxMessageBytes",
    "maxMessagesPerSubject",
)
_ANY_CHANGE = "<keyword>-changed"
"""Represents the ids of keywords that have no rule of their own name."""


def _bounds(kind: str, change: str) -> tuple[str, ...]:
    return f"{kind}imum-{change}", *(f"{kind}{count}-{change}" for count in _COUNTS)


def _rule(ids: str | tuple[str, ...], category: Category, received: str, sent: str, example: str) -> Rule:
    return Rule((ids,) if isinstance(ids, str) else ids, category, received, sent, example)


_C = Category
RULES: tuple[Rule, ...] = (
    _rule("field-added", _C.FIELD, "safe", "safe; risky if unknown fields were excluded", "a new optional `nick`"),
    _rule("field-removed", _C.FIELD, "risky: ignored; breaking if rejected", "breaking", "no `email`"),
    _rule("required-added", _C.FIELD, "breaking", "safe", "`name` was optional, is required"),
    _rule("required-removed", _C.FIELD, "safe", "breaking", "`name` was always present, is optional"),
    _rule("required-with", _C.FIELD, "breaking", "safe", "`city` is required where `street` is present"),
    _rule("not-required-with", _C.FIELD, "safe", "breaking", "`city` may be missing where `street` is present"),
    _rule("pattern-field-added", _C.FIELD, "breaking or safe", "safe or breaking", "fields `^x-` get a schema"),
    _rule("pattern-field-removed", _C.FIELD, "safe or breaking", "breaking or safe", "fields `^x-` lose their schema"),
    _rule("other-fields-closed", _C.FIELD, "breaking", "safe; risky for a map", "`additionalProperties: false`"),
    _rule("other-fields-map", _C.FIELD, "breaking or safe", "safe or risky", "`additionalProperties: {type: string}`"),
    _rule("other-fields-open", _C.FIELD, "safe", "risky; breaking for a map", "no `additionalProperties: false`"),
    _rule("type-added", _C.TYPE, "safe", "breaking", "may also be null"),
    _rule("type-removed", _C.TYPE, "breaking", "safe", "null is no longer allowed"),
    _rule("type-narrowed", _C.TYPE, "breaking", "safe", "number becomes integer"),
    _rule("type-widened", _C.TYPE, "safe", "breaking", "integer becomes number"),
    _rule("variant-added", _C.TYPE, "safe", "breaking", "`oneOf` has a new member"),
    _rule("variant-removed", _C.TYPE, "breaking", "safe", "`oneOf` loses a member"),
    _rule("value-added", _C.VALUE, "safe", "breaking", "`enum` has a new value"),
    _rule("value-removed", _C.VALUE, "breaking", "safe", "`enum` loses a value"),
    _rule("values-limited", _C.VALUE, "breaking", "safe", "any text becomes an `enum`"),
    _rule("values-unlimited", _C.VALUE, "safe", "breaking", "an `enum` becomes any text"),
    _rule("unique-added", _C.VALUE, "breaking", "safe", "`uniqueItems: true`"),
    _rule("unique-removed", _C.VALUE, "safe", "breaking", "`uniqueItems` is removed"),
    _rule(_bounds("min", "raised"), _C.BOUND, "breaking", "safe", "`minLength` 1 becomes 8"),
    _rule(_bounds("min", "lowered"), _C.BOUND, "safe", "breaking", "`minLength` 8 becomes 1"),
    _rule(_bounds("max", "raised"), _C.BOUND, "safe", "breaking", "`maxLength` 100 becomes 200"),
    _rule(_bounds("max", "lowered"), _C.BOUND, "breaking", "safe", "`maxLength` 200 becomes 100"),
    _rule(("multipleOf-added", "multipleOf-raised"), _C.BOUND, "breaking", "safe", "`multipleOf` 5 becomes 10"),
    _rule(("multipleOf-removed", "multipleOf-lowered"), _C.BOUND, "safe", "breaking", "`multipleOf` 10 becomes 5"),
    _rule("multipleOf-changed", _C.BOUND, "breaking", "breaking", "`multipleOf` 2 becomes 3"),
    _rule("pattern-added", _C.FORM, "breaking", "safe", "`pattern: ^[a-z]+$`"),
    _rule("pattern-removed", _C.FORM, "safe", "breaking", "no `pattern`"),
    _rule("pattern-changed", _C.FORM, "breaking", "breaking", "another `pattern`"),
    _rule(
        "format-added",
        _C.FORM,
        "breaking; risky for a private format",
        "safe; risky for a private format",
        "`format: uuid`",
    ),
    _rule(
        "format-removed",
        _C.FORM,
        "safe; risky for a private format",
        "breaking; risky for a private format",
        "no `format`",
    ),
    _rule(
        "format-changed",
        _C.FORM,
        "breaking; risky for a private format",
        "breaking; risky for a private format",
        "date becomes date-time",
    ),
    _rule(
        ("contentEncoding-changed", "contentMediaType-changed"), _C.FORM, "breaking", "breaking", "base64 becomes hex"
    ),
    _rule("schema-format-changed", _C.FORM, "breaking", "breaking", "JSON Schema becomes Avro"),
    _rule("too-deep", _C.OTHER, "risky", "risky", "a schema nested more than 60 levels deep is not compared"),
    _rule("message-added", _C.MESSAGE, "safe", "breaking", "a request may have another reply"),
    _rule("message-removed", _C.MESSAGE, "breaking", "breaking; safe for one of several replies", "no such event"),
    _rule("message-renamed", _C.MESSAGE, "safe", "safe", "the name is not on the wire"),
    _rule("content-type-changed", _C.MESSAGE, "breaking", "breaking", "JSON becomes CBOR"),
    _rule("kind-changed", _C.MESSAGE, "risky", "risky; breaking for a problem", "an event becomes a command"),
    _rule("version-not-raised", _C.MESSAGE, "never", "breaking; cannot be announced", "no `name`, and still schema 1"),
    _rule("version-changed", _C.MESSAGE, "never", "risky", "schema 1 becomes 2"),
    _rule("version-lowered", _C.MESSAGE, "never", "breaking", "schema 2 becomes 1"),
    _rule("correlation-changed", _C.MESSAGE, "breaking; safe if new", "breaking; safe if new", "another header"),
    _rule("problem-added", _C.MESSAGE, "risky", "risky", "a service returns a new slug"),
    _rule("problem-removed", _C.MESSAGE, "safe", "safe", "a service no longer returns a slug"),
    _rule("operation-added", _C.OPERATION, "safe", "safe", "a new request"),
    _rule("operation-removed", _C.OPERATION, "breaking; safe for a client's", "breaking; safe for a client's", "none"),
    _rule("operation-renamed", _C.OPERATION, "safe", "safe", "the id is not on the wire"),
    _rule("action-changed", _C.OPERATION, "breaking", "breaking", "receive becomes send"),
    _rule("queue-changed", _C.OPERATION, "breaking", "breaking", "another queue group"),
    _rule("reply-added", _C.OPERATION, "safe", "safe", "a request is now replied to"),
    _rule("reply-removed", _C.OPERATION, "breaking", "breaking", "a request is no longer replied to"),
    _rule("address-changed", _C.ADDRESS, "breaking", "breaking", "`users.create` becomes `users.register`"),
    _rule("location-changed", _C.ADDRESS, "breaking", "risky; breaking for a reply", "the id in a subject"),
    _rule("parameter-renamed", _C.ADDRESS, "safe", "safe", "`{user_id}` becomes `{id}`"),
    _rule("stream-changed", _C.STREAM, "breaking", "breaking", "a message moves to another stream"),
    _rule("subject-added", _C.STREAM, "safe", "safe", "a stream stores another subject"),
    _rule("subject-removed", _C.STREAM, "breaking", "breaking", "a stream no longer stores a subject"),
    _rule("retention-changed", _C.STREAM, "breaking", "breaking", "limits becomes workqueue"),
    _rule(tuple(f"{key}-lowered" for key in _LIMITS), _C.STREAM, "risky", "risky", "7 days become 1 day"),
    _rule(tuple(f"{key}-raised" for key in _LIMITS), _C.STREAM, "safe", "safe", "1 day becomes 7 days"),
    _rule("server-added", _C.SERVER, "safe", "safe", "another server"),
    _rule("server-removed", _C.SERVER, "breaking", "breaking", "no such server"),
    _rule("protocol-changed", _C.SERVER, "breaking", "breaking", "nats becomes wss"),
    _rule("login-changed", _C.SERVER, "breaking", "breaking", "an old login is no longer accepted"),
    _rule("login-eased", _C.SERVER, "safe", "safe", "another login is accepted too, or none is needed"),
    _rule("parameter-added", _C.HTTP, "safe", "safe", "a new optional query parameter"),
    _rule("parameter-removed", _C.HTTP, "risky", "risky", "a query parameter is ignored"),
    _rule(("style-changed", "explode-changed"), _C.HTTP, "breaking", "breaking", "`?a=1,2` becomes `?a=1&a=2`"),
    _rule("body-added", _C.HTTP, "breaking if required; else safe", "safe", "a request has a body"),
    _rule("body-removed", _C.HTTP, "risky", "risky", "the body is ignored"),
    _rule("media-type-added", _C.HTTP, "safe", "safe", "YAML beside JSON"),
    _rule("media-type-removed", _C.HTTP, "breaking", "breaking", "no JSON"),
    _rule("status-added", _C.HTTP, "risky", "risky", "may return 410"),
    _rule("status-removed", _C.HTTP, "breaking", "breaking", "no longer returns 404"),
    _rule("header-added", _C.HTTP, "safe", "safe", "a new response header"),
    _rule("header-removed", _C.HTTP, "breaking", "breaking", "no `ETag`"),
    _rule("wording-changed", _C.ANNOTATION, "safe", "safe", "another `description`"),
    _rule("deprecation-changed", _C.ANNOTATION, "safe", "safe", "`deprecated: true`"),
    _rule("default-added", _C.ANNOTATION, "safe", "safe", "`default: user`"),
    _rule("default-changed", _C.ANNOTATION, "risky", "risky", "`default` 20 becomes 50"),
    _rule(
        (
            "ackWaitSeconds-changed",
            "maxAckPending-changed",
            "inactiveThresholdSeconds-changed",
            "backoffSeconds-changed",
        ),
        _C.STREAM,
        "safe",
        "safe",
        "a consumer has more time to acknowledge",
    ),
    _rule(
        (_ANY_CHANGE, "asyncapi-changed"),
        _C.OTHER,
        "risky",
        "risky",
        "a keyword without a rule, such as `if` or `discard`",
    ),
)
_BY_ID = {name: rule for rule in RULES for name in rule.ids}


def rule_of(rule_id: str) -> Rule:
    """Return the rule with this id. Raises `LookupError` if there is none."""
    return _BY_ID[rule_id if rule_id in _BY_ID or not rule_id.endswith("-changed") else _ANY_CHANGE]


def as_markdown() -> str:
    """Return the rules as a Markdown table, one line per rule."""
    lines = ["| rule | category | the owner receives it | the owner sends it | example |", "|---|---|---|---|---|"]
    for rule in RULES:
        ids = ", ".join(f"`{name}`" for name in rule.ids)
        lines.append(f"| {ids} | {rule.category} | {rule.received} | {rule.sent} | {rule.example} |")
    return "\n".join(lines)
