"""Compare what is not a schema: streams, servers, logins, and keys without a rule."""

import math
from collections.abc import Collection, Iterator
from typing import Any

from contract_gate.changes import Change, Severity
from contract_gate.references import canonical, differ, followed, shown

BREAKING, RISKY, SAFE = Severity.BREAKING, Severity.RISKY, Severity.SAFE

WORDS = frozenset({"title", "summary", "description", "tags", "externalDocs", "examples", "name"})
"""Keys whose text is only for people."""

_LIMITS = {
    "duplicateWindowSeconds": "the duplicate window in seconds",
    "maxAgeSeconds": "the maximum age in seconds",
    "maxBytes": "the maximum bytes of the stream",
    "maxMessages": "the maximum messages of the stream",
    "maxMessageBytes": "the maximum bytes of a message",
    "maxMessagesPerSubject": "the maximum messages of a subject",
}


def compare_rest(place: str, old: dict[str, Any], new: dict[str, Any], known: Collection[str]) -> Iterator[Change]:
    """Compare keys without a rule: wording is safe, everything else is risky."""
    if any(differ(old.get(key), new.get(key)) for key in WORDS):
        yield Change(place, "wording-changed", SAFE, "is described differently")
    for key in sorted({*old, *new} - {*known, *WORDS}):
        if differ(old.get(key), new.get(key)):
            yield Change(place, f"{key}-changed", RISKY, changed(key, old.get(key), new.get(key)))


def changed(what: str, old: Any, new: Any) -> str:
    """Return a message with the old and the new value."""
    return f"{what} was {shown(old)}, is now {shown(new)}"


def compare_streams(place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    """Compare the streams that store the messages of a channel."""
    if old.get("name") != new.get("name"):
        yield Change(place, "stream-changed", BREAKING, changed("the stream", old.get("name"), new.get("name")))
    if not old or not new:
        return
    before, after = set(old.get("subjects", [])), set(new.get("subjects", []))
    for subject in sorted(before - after):
        yield Change(place, f"subject-removed {subject}", BREAKING, f"the stream no longer stores {subject}")
    for subject in sorted(after - before):
        yield Change(place, f"subject-added {subject}", SAFE, f"the stream now also stores {subject}")
    if old.get("retention") != new.get("retention"):
        yield Change(
            place, "retention-changed", BREAKING, changed("retention", old.get("retention"), new.get("retention"))
        )
    for key, what in _LIMITS.items():
        limit, now = (math.inf if side.get(key) is None else side[key] for side in (old, new))
        if now != limit:
            code, level = ("lowered", RISKY) if now < limit else ("raised", SAFE)
            yield Change(place, f"{key}-{code}", level, changed(what, old.get(key), new.get(key)))
    yield from compare_rest(place, old, new, {"name", "subjects", "retention", *_LIMITS})


def compare_servers(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    """Compare the servers of two documents, and their logins."""
    before, after = old.get("servers", {}), new.get("servers", {})
    for name in sorted({*before, *after}):
        place = f"servers/{name}"
        if name not in after:
            yield Change(place, "server-removed", BREAKING, "is removed")
        elif name not in before:
            yield Change(place, "server-added", SAFE, "is new")
        else:
            yield from _server(place, _whole(old, before[name]), _whole(new, after[name]))


def _server(place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    if old.get("protocol") != new.get("protocol"):
        yield Change(
            place, "protocol-changed", BREAKING, changed("the protocol", old.get("protocol"), new.get("protocol"))
        )
    yield from compare_logins(place, old["security"], new["security"])
    yield from compare_rest(place, old, new, {"protocol", "security"})


def _whole(root: dict[str, Any], server: dict[str, Any]) -> dict[str, Any]:
    """Return a server with its references resolved."""
    resolved = followed(root, server)
    security = security_schemes(root, resolved.get("security"))
    return {**resolved, "bindings": followed(root, resolved.get("bindings")), "security": security}


def security_schemes(root: dict[str, Any], schemes: list[Any] | None) -> list[Any]:
    """Return the alternative security schemes, resolved and without wording."""
    resolved = [followed(root, scheme) for scheme in schemes or []]
    return [{key: value for key, value in scheme.items() if key not in WORDS or key == "name"} for scheme in resolved]


def compare_logins(place: str, old: list[Any], new: list[Any]) -> Iterator[Change]:
    """Compare alternative logins: each old one must still be accepted."""
    before, after = {canonical(one): one for one in old}, {canonical(one): one for one in new}
    removed = [one for text, one in before.items() if text not in after]
    if new and (removed or not old):
        yield Change(place, "login-changed", BREAKING, changed("the login", old or "none", new))
    elif before.keys() != after.keys():
        yield Change(place, "login-eased", SAFE, changed("the login", old, new or "none"))
