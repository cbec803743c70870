"""One operation of the service that owns it: its address, what it carries, and what comes back."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from contract_gate import x_nats
from contract_gate.changes import Change, Direction, Effect, Severity, severity
from contract_gate.operations import Message, Operation
from contract_gate.references import canonical, followed
from contract_gate.schemas import compare_schemas

BREAKING, RISKY, SAFE = Severity.BREAKING, Severity.RISKY, Severity.SAFE


def exchange(old: Operation, new: Operation) -> Iterator[Change]:
    """Find what changed for those on the other side of it."""
    place = old.channel_id
    if old.body.get("action") != new.body.get("action"):
        sentence = x_nats.was("the action", old.body.get("action"), new.body.get("action"))
        yield Change(place, "action-changed", BREAKING, sentence)
    if old.address != new.address:
        sentence = x_nats.was("the address", old.channel.get("address"), new.channel.get("address"))
        yield Change(place, "address-changed", BREAKING, sentence)
    elif old.channel.get("address") != new.channel.get("address"):
        sentence = x_nats.was("the address", old.channel.get("address"), new.channel.get("address"))
        yield Change(place, "parameter-renamed", SAFE, sentence)
    yield from _parameters(old, new)
    yield from _channel(old, new)
    ways, new_ways = (x_nats.ways_in(side.root, side.body.get("security")) for side in (old, new))
    yield from x_nats.logins(place, ways, new_ways)
    yield from _Carried(old.direction, place).changes(old.messages, new.messages)
    yield from _reply(old, new)
    known = {"action", "channel", "messages", "reply", "security", "x-nats"}
    yield from x_nats.rest(place, old.body, new.body, known)


def _parameters(old: Operation, new: Operation) -> Iterator[Change]:
    """Compare parameters by their place in the address, since their names are nothing on the wire."""
    befores, afters = (list(side.channel.get("parameters", {}).items()) for side in (old, new))
    for (name, before), (_, after) in zip(befores, afters, strict=False):
        place = f"{old.channel_id}/parameters/{name}"
        one, other = followed(old.root, before), followed(new.root, after)
        if one.get("location") != other.get("location"):
            # Who sends a command takes the subject from there, and would send it where nobody finds it.
            level = BREAKING if old.direction is Direction.INPUT else RISKY
            sentence = x_nats.was("where it is taken from", one.get("location"), other.get("location"))
            yield Change(place, "location-changed", level, sentence)
        values, new_values = (
            {"type": "string", **({"enum": said["enum"]} if "enum" in said else {})} for said in (one, other)
        )
        found = compare_schemas(values, new_values, old.direction, old_root=old.root, new_root=new.root)
        yield from (change.below(place) for change in found)
        yield from x_nats.rest(place, one, other, {"location", "enum"})


def _channel(old: Operation, new: Operation) -> Iterator[Change]:
    before, after = (dict(side.channel.get("x-nats", {})) for side in (old, new))
    yield from x_nats.streams(old.channel_id, before.get("stream") or {}, after.get("stream") or {})
    yield from x_nats.rest(old.channel_id, before, after, {"stream"})
    known = {"address", "parameters", "messages", "x-nats"}
    yield from x_nats.rest(old.channel_id, _unbound(old), _unbound(new), known)


def _unbound(operation: Operation) -> dict[str, Any]:
    """Return its channel without what its bindings repeat: the subject, and the queue group of `x-nats`."""
    found = followed(operation.root, operation.channel.get("bindings", {}))
    bindings = {name: {k: v for k, v in said.items() if k not in {"queue", "subject"}} for name, said in found.items()}
    return {**operation.channel, "bindings": bindings}


def _reply(old: Operation, new: Operation) -> Iterator[Change]:
    place = f"{old.channel_id}/reply"
    if old.reply is None and new.reply is None:
        return
    if new.reply is None:
        yield Change(place, "reply-removed", BREAKING, "is not answered any more")
    elif old.reply is None:
        yield Change(place, "reply-added", SAFE, "is answered from now on")
    else:
        before, after = (followed(side.root, (side.reply or {}).get("address")) or {} for side in (old, new))
        if before.get("location") != after.get("location"):
            sentence = x_nats.was("the reply goes to", before.get("location"), after.get("location"))
            yield Change(place, "location-changed", BREAKING, sentence)
        yield from _Carried(old.direction.other, place, replies=True).changes(old.replies, new.replies)


class _Carried:
    """Compares the messages that may go one way."""

    def __init__(self, direction: Direction, place: str, *, replies: bool = False) -> None:
        self._direction = direction
        self._place = place
        self._replies = replies

    def changes(self, old: list[Message], new: list[Message]) -> Iterator[Change]:
        pairs = _paired(old, new)
        alone = len(old) == 1 and not self._replies
        for before, after in pairs:
            place = self._place if alone else f"{self._place}/{before.name}"
            yield from (change.below(place) for change in self._message(before, after))
        kept = {before.name for before, _ in pairs}
        for message in old:
            if message.name not in kept:
                yield self._gone(message, new)
        come = {after.name for _, after in pairs}
        for message in new:
            if message.name not in come:
                level = severity(Effect.WIDER, self._direction)
                yield Change(self._place, f"message-added {message.name}", level, f"{message.name} may come too")

    def _gone(self, message: Message, left: list[Message]) -> Change:
        """Say that it is gone: who reads replies does without one of several, who reads events waits for ever."""
        harmless = self._replies and (
            message.kind == "problem" or any(other.kind in {message.kind, "reply"} for other in left)
        )
        level = SAFE if harmless else BREAKING
        return Change(self._place, f"message-removed {message.name}", level, f"{message.name} is gone")

    def _message(self, old: Message, new: Message) -> Iterator[Change]:
        if old.name != new.name:
            yield Change("", "message-renamed", SAFE, f"is called {new.name}, which nobody sees on the wire")
        if old.content_type != new.content_type:
            sentence = x_nats.was("the content type", old.content_type, new.content_type)
            yield Change("", "content-type-changed", BREAKING, sentence)
        if old.kind != new.kind:
            yield Change("", "kind-changed", RISKY, x_nats.was("the kind", old.kind, new.kind))
        for part in ("headers", "payload"):
            yield from self._schema(part, old, new)
        places = [followed(one.root, one.body.get("correlationId")) or {} for one in (old, new)]
        if places[0].get("location") != places[1].get("location"):
            sentence = x_nats.was("the correlation id", places[0].get("location"), places[1].get("location"))
            yield Change("", "correlation-changed", BREAKING if places[0] else SAFE, sentence)
        known = {"contentType", "headers", "payload", "correlationId", "x-problems"}
        yield from x_nats.rest("", old.body, new.body, known)

    def _schema(self, part: str, old: Message, new: Message) -> Iterator[Change]:
        (written, before), (now_written, after) = (_schema_of(one.body.get(part, True)) for one in (old, new))
        if written != now_written:
            sentence = x_nats.was("the schema's format", written, now_written)
            yield Change(f"/{part}", "schema-format-changed", BREAKING, sentence)
            return
        found = compare_schemas(before, after, self._direction, old_root=old.root, new_root=new.root)
        yield from (replace(change, place=f"/{part}{change.place}") for change in found)


def _schema_of(said: Any) -> tuple[Any, Any]:
    if isinstance(said, dict) and "schemaFormat" in said:
        return said["schemaFormat"], said.get("schema", True)
    return None, said


def _paired(old: list[Message], new: list[Message]) -> list[tuple[Message, Message]]:
    """Pair messages by name; what is left by its content, then by its kind if that leaves no choice."""
    pairs = [(one, other) for one in old for other in new if one.name == other.name]
    for fits in (_same_content, _same_kind):
        for one in old:
            rest = [other for other in new if other.name not in {pair[1].name for pair in pairs}]
            if one.name not in {pair[0].name for pair in pairs}:
                match = next((other for other in rest if fits(one, other)), None)
                if match is not None:
                    pairs.append((one, match))
    return pairs


def _same_content(old: Message, new: Message) -> bool:
    return canonical(followed(old.root, old.body.get("payload"))) == canonical(
        followed(new.root, new.body.get("payload"))
    )


def _same_kind(old: Message, new: Message) -> bool:
    return bool(old.kind) and old.kind == new.kind
