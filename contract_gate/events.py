"""Compare two versions of the AsyncAPI documents of a system."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from contract_gate import x_nats
from contract_gate.changes import Change, Severity
from contract_gate.operations import Document, Operation, counterparts, operations
from contract_gate.operations_diff import compare_operations
from contract_gate.references import malformed

BREAKING, RISKY, SAFE = Severity.BREAKING, Severity.RISKY, Severity.SAFE


def compare_events(
    old: Iterable[Document], new: Iterable[Document], context: Iterable[Document] = ()
) -> Iterator[Change]:
    """Yield the changes of every contract, read from its owner's document, with the operations that they affect.

    The owner of a request and its replies is the service that replies, of a command its consumer, of an event its
    publisher. Other documents only contain copies, which are not compared. `context` are documents that are not
    compared but whose operations may be affected. Raises `UnreadableError` if a document is malformed.
    """
    olds, news = list(old), list(new)
    sides = operations(olds), operations(news)
    with malformed("An address or role of an operation"):
        matches = _matches(*sides)
    everyone = [one for side in (*sides, operations(context)) for one in side.values()]
    for name, before in sides[0].items():
        after = matches.get(name)
        with malformed(f"The operation {name}, or what it refers to,"):
            addresses = {before.address} | ({after.address} if after else set())
            affected = counterparts(before, addresses, everyone)
            for change in _operation(before, after):
                yield replace(change, affects=affected)
    for name in sorted(sides[1].keys() - {after.id for after in matches.values()}):
        operation = sides[1][name]
        place = operation.channel_id if operation.owned else name
        yield Change(
            place,
            f"operation-added {name}",
            SAFE,
            f"{operation.service} now {_VERBS.get(operation.role, operation.role)} it",
        )
    services = tuple(sorted({operation.service for operation in everyone}))
    with malformed("A document's servers or info"):
        for change in _documents(olds, news):
            yield replace(change, affects=services)


def _matches(old: dict[str, Operation], new: dict[str, Operation]) -> dict[str, Operation]:
    """Return the new operation for each old id: that of the same id, or else one with the same action and address."""
    matches = {name: new[name] for name in old if name in new}
    free = {(one.body.get("action"), one.role, one.address): one for one in new.values() if one.id not in matches}
    for name, operation in old.items():
        if name not in matches:
            match = free.pop((operation.body.get("action"), operation.role, operation.address), None)
            if match is not None:
                matches[name] = match
    return matches


def _operation(old: Operation, new: Operation | None) -> Iterator[Change]:
    if new is None:
        level = BREAKING if old.owned else SAFE
        place = old.channel_id if old.owned else old.id
        yield Change(
            place, f"operation-removed {old.id}", level, f"{old.service} no longer {_VERBS.get(old.role, old.role)} it"
        )
        return
    if old.id != new.id:
        yield Change(old.id, "operation-renamed", SAFE, f"is now {new.id}, at the same address")
    if old.owned:
        yield from compare_operations(old, new)
        yield from _problems(old, new)
    yield from _facts(old, new)


def _problems(old: Operation, new: Operation) -> Iterator[Change]:
    """Compare the problem slugs that clients switch on; a service has one list for all of its replies."""
    before, after = (
        {problem["slug"]: problem for message in side.replies for problem in message.body.get("x-problems", [])}
        for side in (old, new)
    )
    place = f"{old.service}/problems"
    for slug in sorted(before.keys() - after.keys()):
        yield Change(place, f"problem-removed {slug}", SAFE, f"{slug} is no longer returned")
    for slug in sorted(after.keys() - before.keys()):
        yield Change(place, f"problem-added {slug}", RISKY, f"{slug} may be returned, which no client handles yet")
    for slug in sorted(before.keys() & after.keys()):
        kinds = before[slug].get("kind"), after[slug].get("kind")
        if kinds[0] != kinds[1]:
            yield Change(f"{place}/{slug}", "kind-changed", BREAKING, x_nats.changed("the kind", *kinds))


_VERBS = {"replies": "replies to", "subscribes": "subscribes to"}
"""Roles that need a preposition in a sentence."""

_HARMLESS = frozenset({"ackWaitSeconds", "maxAckPending", "inactiveThresholdSeconds", "backoffSeconds"})
"""Consumer settings that no other service notices."""


def _facts(old: Operation, new: Operation) -> Iterator[Change]:
    """Compare the `x-nats` facts of an operation: queue group, stream, consumer."""
    before, after = old.facts, new.facts
    place = old.channel_id if old.owned else old.id
    if old.owned and old.queue != new.queue:
        yield Change(place, "queue-changed", BREAKING, x_nats.changed("the queue group", old.queue, new.queue))
    if old.owned and before.get("stream") != after.get("stream"):
        yield Change(
            place, "stream-changed", BREAKING, x_nats.changed("the stream", before.get("stream"), after.get("stream"))
        )
    known = {"consumer", "role"} | ({"queueGroup", "stream"} if old.owned else set())
    yield from x_nats.compare_rest(place, before, after, known)
    yield from _consumers(f"{old.id}/consumer", before.get("consumer") or {}, after.get("consumer") or {})


def _consumers(place: str, old: Document, new: Document) -> Iterator[Change]:
    yield from x_nats.compare_rest(place, old, new, _HARMLESS)
    for key in sorted(_HARMLESS):
        if old.get(key) != new.get(key):
            yield Change(place, f"{key}-changed", SAFE, x_nats.changed(key, old.get(key), new.get(key)))


def _documents(old: list[Document], new: list[Document]) -> Iterator[Change]:
    """Compare servers, `info` and AsyncAPI version of the documents with the same id."""
    news = {document.get("id"): document for document in new}
    for before in old:
        after = news.get(before.get("id"))
        if after is not None:
            yield from x_nats.compare_servers(before, after)
            yield from x_nats.compare_rest(
                str(before.get("id")), before.get("info", {}), after.get("info", {}), {"version"}
            )
            if before.get("asyncapi") != after.get("asyncapi"):
                text = x_nats.changed("AsyncAPI", before.get("asyncapi"), after.get("asyncapi"))
                yield Change(str(before.get("id")), "asyncapi-changed", RISKY, text)
