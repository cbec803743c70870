"""Compare an operation of the owning service: address, messages and replies."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from contract_gate import x_nats
from contract_gate.changes import Change, Direction, Effect, Severity, severity
from contract_gate.operations import SCHEMA_HEADER, Message, Operation
from contract_gate.references import canonical, followed
from contract_gate.schemas import compare_schemas

BREAKING, RISKY, SAFE = Severity.BREAKING, Severity.RISKY, Severity.SAFE


def compare_operations(old: Operation, new: Operation) -> Iterator[Change]:
    """Yield the changes that matter to the services at the other end."""
    place = old.channel_id
    if old.body.get("action") != new.body.get("action"):
        text = x_nats.changed("the action", old.body.get("action"), new.body.get("action"))
        yield Change(place, "action-changed", BREAKING, text)
    if old.address != new.address:
        text = x_nats.changed("the address", old.channel.get("address"), new.channel.get("address"))
        yield Change(place, "address-changed", BREAKING, text)
    elif old.channel.get("address") != new.channel.get("address"):
        text = x_nats.changed("the address", old.channel.get("address"), new.channel.get("address"))
        yield Change(place, "parameter-renamed", SAFE, text)
    yield from _parameters(old, new)
    yield from _channel(old, new)
    schemes, new_schemes = (x_nats.security_schemes(side.root, side.body.get("security")) for side in (old, new))
    yield from x_nats.compare_logins(place, schemes, new_schemes)
    yield from _Messages(old.direction, place).changes(old.messages, new.messages)
    yield from _reply(old, new)
    known = {"action", "channel", "messages", "reply", "security", "x-nats"}
    yield from x_nats.compare_rest(place, old.body, new.body, known)


def _parameters(old: Operation, new: Operation) -> Iterator[Change]:
    """Compare parameters by their position in the address, since their names are not on the wire."""
    befores, afters = (list(side.channel.get("parameters", {}).items()) for side in (old, new))
    for (name, before), (_, after) in zip(befores, afters, strict=False):
        place = f"{old.channel_id}/parameters/{name}"
        one, other = followed(old.root, before), followed(new.root, after)
        if one.get("location") != other.get("location"):
            # The sender builds the subject from this location, and would publish to the wrong one.
            level = BREAKING if old.direction is Direction.INPUT else RISKY
            text = x_nats.changed("its location", one.get("location"), other.get("location"))
            yield Change(place, "location-changed", level, text)
        values, new_values = (
            {"type": "string", **({"enum": side["enum"]} if "enum" in side else {})} for side in (one, other)
        )
        changes = compare_schemas(values, new_values, old.direction, old_root=old.root, new_root=new.root)
        yield from (change.below(place) for change in changes)
        yield from x_nats.compare_rest(place, one, other, {"location", "enum"})


def _channel(old: Operation, new: Operation) -> Iterator[Change]:
    before, after = (dict(side.channel.get("x-nats", {})) for side in (old, new))
    yield from x_nats.compare_streams(old.channel_id, before.get("stream") or {}, after.get("stream") or {})
    yield from x_nats.compare_rest(old.channel_id, before, after, {"stream"})
    known = {"address", "parameters", "messages", "x-nats"}
    yield from x_nats.compare_rest(old.channel_id, _unbound(old), _unbound(new), known)


def _unbound(operation: Operation) -> dict[str, Any]:
    """Return its channel without the subject and queue group of the bindings, which repeat address and `x-nats`."""
    resolved = followed(operation.root, operation.channel.get("bindings", {}))
    bindings = {
        name: {k: v for k, v in binding.items() if k not in {"queue", "subject"}} for name, binding in resolved.items()
    }
    return {**operation.channel, "bindings": bindings}


def _reply(old: Operation, new: Operation) -> Iterator[Change]:
    place = f"{old.channel_id}/reply"
    if old.reply is None and new.reply is None:
        return
    if new.reply is None:
        yield Change(place, "reply-removed", BREAKING, "is no longer replied to")
    elif old.reply is None:
        yield Change(place, "reply-added", SAFE, "is now replied to")
    else:
        before, after = (followed(side.root, (side.reply or {}).get("address")) or {} for side in (old, new))
        if before.get("location") != after.get("location"):
            text = x_nats.changed("the reply address", before.get("location"), after.get("location"))
            yield Change(place, "location-changed", BREAKING, text)
        yield from _Messages(old.direction.other, place, replies=True).changes(old.replies, new.replies)


class _Messages:
    """Compares the messages that an operation may carry in one direction."""

    def __init__(self, direction: Direction, place: str, *, replies: bool = False) -> None:
        self._direction = direction
        self._place = place
        self._replies = replies

    def changes(self, old: list[Message], new: list[Message]) -> Iterator[Change]:
        pairs = _paired(old, new)
        single = len(old) == 1 and not self._replies
        for before, after in pairs:
            place = self._place if single else f"{self._place}/{before.name}"
            compared = _with_schema_version(before, after, self._message(before, after))
            yield from (change.below(place) for change in compared)
        paired_old = {before.name for before, _ in pairs}
        for message in old:
            if message.name not in paired_old:
                yield self._removed(message, new)
        paired = {after.name for _, after in pairs}
        for message in new:
            if message.name not in paired:
                level = severity(Effect.WIDER, self._direction)
                yield Change(self._place, f"message-added {message.name}", level, f"{message.name} is now possible")

    def _removed(self, message: Message, left: list[Message]) -> Change:
        """Report a removed message: harmless if it is one of several replies, but an event no longer arrives."""
        harmless = self._replies and (
            message.kind == "problem" or any(other.kind in {message.kind, "reply"} for other in left)
        )
        level = SAFE if harmless else BREAKING
        return Change(self._place, f"message-removed {message.name}", level, f"{message.name} is removed")

    def _message(self, old: Message, new: Message) -> Iterator[Change]:
        if old.name != new.name:
            yield Change("", "message-renamed", SAFE, f"is now called {new.name}, which is not on the wire")
        if old.content_type != new.content_type:
            text = x_nats.changed("the content type", old.content_type, new.content_type)
            yield Change("", "content-type-changed", BREAKING, text)
        if old.kind != new.kind:
            yield Change("", "kind-changed", RISKY, x_nats.changed("the kind", old.kind, new.kind))
        for part in ("headers", "payload"):
            yield from self._schema(part, old, new)
        places = [followed(one.root, one.body.get("correlationId")) or {} for one in (old, new)]
        if places[0].get("location") != places[1].get("location"):
            text = x_nats.changed("the correlation id", places[0].get("location"), places[1].get("location"))
            yield Change("", "correlation-changed", BREAKING if places[0] else SAFE, text)
        known = {"contentType", "headers", "payload", "correlationId", "x-problems"}
        yield from x_nats.compare_rest("", old.body, new.body, known)

    def _schema(self, part: str, old: Message, new: Message) -> Iterator[Change]:
        (old_format, before), (new_format, after) = (_schema_of(one.body.get(part, True)) for one in (old, new))
        if old_format != new_format:
            text = x_nats.changed("the schema's format", old_format, new_format)
            yield Change(f"/{part}", "schema-format-changed", BREAKING, text)
            return
        changes = compare_schemas(before, after, self._direction, old_root=old.root, new_root=new.root)
        yield from (replace(change, place=f"/{part}{change.place}") for change in changes)


def _with_schema_version(old: Message, new: Message, changes: Iterable[Change]) -> Iterator[Change]:
    """Yield the changes of a message, and whether the schema version of an event fits them.

    Another version alone breaks no reader: what it stands for is reported, and announced, by itself.
    """
    before, after, place = old.schema_version, new.schema_version, f"/headers/{SCHEMA_HEADER}"
    if before is None or after is None:
        yield from changes
        return
    incompatible = False
    for change in changes:
        if change.place == place and change.rule.startswith("value-"):
            continue  # the two constants are compared below
        incompatible = incompatible or (change.severity is BREAKING and not change.place.startswith("/headers"))
        yield change
    if before != after:
        code, level = ("lowered", BREAKING) if _is_lower(before, after) else ("changed", RISKY)
        yield Change(place, f"version-{code}", level, x_nats.changed("the schema version", before, after))
    elif incompatible:
        text = f"an incompatible schema needs another version than {before}"
        yield Change(place, "version-not-raised", BREAKING, text)


def _is_lower(before: str, after: str) -> bool:
    """Return whether two URIs differ only in the number at their end, and the second one is lower."""
    old, new = (re.fullmatch(r"(.*?)([0-9]+)", uri, re.DOTALL) for uri in (before, after))
    return old is not None and new is not None and old[1] == new[1] and int(old[2]) > int(new[2])


def _schema_of(value: Any) -> tuple[Any, Any]:
    if isinstance(value, dict) and "schemaFormat" in value:
        return value["schemaFormat"], value.get("schema", True)
    return None, value


def _paired(old: list[Message], new: list[Message]) -> list[tuple[Message, Message]]:
    """Pair messages by name, the others by equal payload, then by kind."""
    pairs = [(one, other) for one in old for other in new if one.name == other.name]
    for matches in (_same_content, _same_kind):
        for one in old:
            rest = [other for other in new if other.name not in {pair[1].name for pair in pairs}]
            if one.name not in {pair[0].name for pair in pairs}:
                match = next((other for other in rest if matches(one, other)), None)
                if match is not None:
                    pairs.append((one, match))
    return pairs


def _same_content(old: Message, new: Message) -> bool:
    return canonical(followed(old.root, old.body.get("payload"))) == canonical(
        followed(new.root, new.body.get("payload"))
    )


def _same_kind(old: Message, new: Message) -> bool:
    return bool(old.kind) and old.kind == new.kind
