"""Two versions of the AsyncAPI documents of a system, compared."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from contract_gate import x_nats
from contract_gate.changes import Change, Severity
from contract_gate.operations import Document, Operation, met_by, operations
from contract_gate.operations_diff import exchange

BREAKING, RISKY, SAFE = Severity.BREAKING, Severity.RISKY, Severity.SAFE


def compare_events(
    old: Iterable[Document], new: Iterable[Document], around: Iterable[Document] = ()
) -> Iterator[Change]:
    """Find the changes of every contract in the document of its owner, with the others' operations that they hit.

    A request and its replies belong to who answers it, a command to who takes it, an event to who sends it. What the
    other side's document says of them is a copy, and is not compared again. `around` are documents that are not
    compared, whose operations are hit as well. Raises `UnreadableError`.
    """
    olds, news = list(old), list(new)
    sides = operations(olds), operations(news)
    partners = _partners(*sides)
    everyone = [one for side in (*sides, operations(around)) for one in side.values()]
    for name, before in sides[0].items():
        after = partners.get(name)
        addresses = {before.address} | ({after.address} if after else set())
        hits = met_by(before, addresses, everyone)
        for change in _operation(before, after):
            yield replace(change, hits=hits)
    for name in sorted(sides[1].keys() - {after.id for after in partners.values()}):
        operation = sides[1][name]
        place = operation.channel_id if operation.owned else name
        yield Change(place, f"operation-added {name}", SAFE, f"{operation.service} {operation.role} it from now on")
    everybody = tuple(sorted({operation.service for operation in everyone}))
    for change in _documents(olds, news):
        yield replace(change, hits=everybody)


def _partners(old: dict[str, Operation], new: dict[str, Operation]) -> dict[str, Operation]:
    """Return what each old operation has become: the one of its name, or else one that does the same in its place."""
    found = {name: new[name] for name in old if name in new}
    free = {(one.body.get("action"), one.role, one.address): one for one in new.values() if one.id not in found}
    for name, operation in old.items():
        if name not in found:
            match = free.pop((operation.body.get("action"), operation.role, operation.address), None)
            if match is not None:
                found[name] = match
    return found


def _operation(old: Operation, new: Operation | None) -> Iterator[Change]:
    if new is None:
        level = BREAKING if old.owned else SAFE
        place = old.channel_id if old.owned else old.id
        yield Change(place, f"operation-removed {old.id}", level, f"{old.service} {old.role} it no longer")
        return
    if old.id != new.id:
        yield Change(old.id, "operation-renamed", SAFE, f"is {new.id} now, at the same address")
    if old.owned:
        yield from exchange(old, new)
        yield from _problems(old, new)
    yield from _facts(old, new)


def _problems(old: Operation, new: Operation) -> Iterator[Change]:
    """Compare the refusals that clients switch on; one list for all that a service answers."""
    before, after = (
        {problem["slug"]: problem for message in side.replies for problem in message.body.get("x-problems", [])}
        for side in (old, new)
    )
    place = f"{old.service}/problems"
    for slug in sorted(before.keys() - after.keys()):
        yield Change(place, f"problem-removed {slug}", SAFE, f"{slug} is not said any more")
    for slug in sorted(after.keys() - before.keys()):
        yield Change(place, f"problem-added {slug}", RISKY, f"{slug} may be said, which nobody knows yet")
    for slug in sorted(before.keys() & after.keys()):
        kinds = before[slug].get("kind"), after[slug].get("kind")
        if kinds[0] != kinds[1]:
            yield Change(f"{place}/{slug}", "kind-changed", BREAKING, x_nats.was("its kind", *kinds))


_HARMLESS = frozenset({"ackWaitSeconds", "maxAckPending", "inactiveThresholdSeconds", "backoffSeconds"})


def _facts(old: Operation, new: Operation) -> Iterator[Change]:
    """Compare how a service does what it does."""
    before, after = old.facts, new.facts
    place = old.channel_id if old.owned else old.id
    if old.owned and old.queue != new.queue:
        yield Change(place, "queue-changed", BREAKING, x_nats.was("the queue group", old.queue, new.queue))
    if old.owned and before.get("stream") != after.get("stream"):
        yield Change(
            place, "stream-changed", BREAKING, x_nats.was("the stream", before.get("stream"), after.get("stream"))
        )
    known = {"consumer", "role"} | ({"queueGroup", "stream"} if old.owned else set())
    yield from x_nats.rest(place, before, after, known)
    yield from _consumers(f"{old.id}/consumer", before.get("consumer") or {}, after.get("consumer") or {})


def _consumers(place: str, old: Document, new: Document) -> Iterator[Change]:
    yield from x_nats.rest(place, old, new, _HARMLESS)
    for key in sorted(_HARMLESS):
        if old.get(key) != new.get(key):
            yield Change(place, f"{key}-changed", SAFE, x_nats.was(key, old.get(key), new.get(key)))


def _documents(old: list[Document], new: list[Document]) -> Iterator[Change]:
    """Compare what documents of one id say of servers and of themselves."""
    news = {document.get("id"): document for document in new}
    for before in old:
        after = news.get(before.get("id"))
        if after is not None:
            yield from x_nats.servers(before, after)
            yield from x_nats.rest(str(before.get("id")), before.get("info", {}), after.get("info", {}), {"version"})
            if before.get("asyncapi") != after.get("asyncapi"):
                sentence = x_nats.was("AsyncAPI", before.get("asyncapi"), after.get("asyncapi"))
                yield Change(str(before.get("id")), "asyncapi-changed", RISKY, sentence)
