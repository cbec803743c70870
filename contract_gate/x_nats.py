"""What is said beside schemas: streams, servers, and whatever else stands in a document."""

import math
from collections.abc import Collection, Iterator
from typing import Any

from contract_gate.changes import Change, Severity
from contract_gate.references import canonical, differ, followed, shown

BREAKING, RISKY, SAFE = Severity.BREAKING, Severity.RISKY, Severity.SAFE

WORDS = frozenset({"title", "summary", "description", "tags", "externalDocs", "examples", "name"})
"""What is for people alone."""

_LIMITS = {
    "duplicateWindowSeconds": "what is sent twice is made once for",
    "maxAgeSeconds": "what is kept is kept for",
    "maxBytes": "the stream holds",
    "maxMessages": "the stream holds",
    "maxMessageBytes": "a message has at most",
    "maxMessagesPerSubject": "a subject holds",
}


def rest(place: str, old: dict[str, Any], new: dict[str, Any], known: Collection[str]) -> Iterator[Change]:
    """Compare what no rule knows: words are safe, everything else is risky."""
    if any(differ(old.get(key), new.get(key)) for key in WORDS):
        yield Change(place, "wording-changed", SAFE, "is described in other words")
    for key in sorted({*old, *new} - {*known, *WORDS}):
        if differ(old.get(key), new.get(key)):
            yield Change(place, f"{key}-changed", RISKY, was(key, old.get(key), new.get(key)))


def was(what: str, old: Any, new: Any) -> str:
    """Say what something was and is."""
    return f"{what}: {shown(old)} before, {shown(new)} now"


def streams(place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    """Compare what two channels say of the stream that keeps their messages."""
    if old.get("name") != new.get("name"):
        yield Change(place, "stream-changed", BREAKING, was("the stream", old.get("name"), new.get("name")))
    if not old or not new:
        return
    before, after = set(old.get("subjects", [])), set(new.get("subjects", []))
    for subject in sorted(before - after):
        yield Change(place, f"subject-removed {subject}", BREAKING, f"the stream does not keep {subject} any more")
    for subject in sorted(after - before):
        yield Change(place, f"subject-added {subject}", SAFE, f"the stream keeps {subject} too")
    if old.get("retention") != new.get("retention"):
        yield Change(place, "retention-changed", BREAKING, was("retention", old.get("retention"), new.get("retention")))
    for key, what in _LIMITS.items():
        limit, now = (math.inf if side.get(key) is None else side[key] for side in (old, new))
        if now != limit:
            code, level = ("lowered", RISKY) if now < limit else ("raised", SAFE)
            yield Change(place, f"{key}-{code}", level, was(what, old.get(key), new.get(key)))
    yield from rest(place, old, new, {"name", "subjects", "retention", *_LIMITS})


def servers(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    """Compare where two documents say that one connects, and how one logs in."""
    before, after = old.get("servers", {}), new.get("servers", {})
    for name in sorted({*before, *after}):
        place = f"servers/{name}"
        if name not in after:
            yield Change(place, "server-removed", BREAKING, "is no server any more")
        elif name not in before:
            yield Change(place, "server-added", SAFE, "is a new server")
        else:
            yield from _server(place, _whole(old, before[name]), _whole(new, after[name]))


def _server(place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    if old.get("protocol") != new.get("protocol"):
        yield Change(place, "protocol-changed", BREAKING, was("the protocol", old.get("protocol"), new.get("protocol")))
    yield from logins(place, old["security"], new["security"])
    yield from rest(place, old, new, {"protocol", "security"})


def _whole(root: dict[str, Any], server: dict[str, Any]) -> dict[str, Any]:
    """Return a server without references."""
    said = followed(root, server)
    return {**said, "bindings": followed(root, said.get("bindings")), "security": ways_in(root, said.get("security"))}


def ways_in(root: dict[str, Any], schemes: list[Any] | None) -> list[Any]:
    """Return the ways to log in, any of which will do, without what is said of them for people."""
    found = [followed(root, scheme) for scheme in schemes or []]
    return [{key: value for key, value in scheme.items() if key not in WORDS or key == "name"} for scheme in found]


def logins(place: str, old: list[Any], new: list[Any]) -> Iterator[Change]:
    """Compare ways to log in; who knows one of the old ones must still get in."""
    before, after = {canonical(one): one for one in old}, {canonical(one): one for one in new}
    gone = [one for text, one in before.items() if text not in after]
    if new and (gone or not old):
        yield Change(place, "login-changed", BREAKING, was("how one logs in", old or "not at all", new))
    elif before.keys() != after.keys():
        yield Change(place, "login-eased", SAFE, was("how one logs in", old, new or "not at all"))
