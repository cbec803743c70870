"""JSON values as such: references that lead somewhere, and equality as JSON means it."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote


class UnreadableError(Exception):
    """What should be compared cannot be read; the text is a sentence for a person."""


def resolve(root: Any, reference: str) -> Any:
    """Return what a local reference (RFC 6901 in a fragment) leads to; raises `UnreadableError` if that is nowhere."""
    found = root
    for token in tokens(reference):
        try:
            found = found[int(token)] if isinstance(found, list) else found[token]
        except (KeyError, IndexError, ValueError, TypeError):
            raise UnreadableError(f"The reference {reference} leads nowhere.") from None
    return found


def tokens(reference: str) -> list[str]:
    """Return the names on the way of a reference; raises `UnreadableError` if it leaves the document."""
    if not reference.startswith("#"):
        raise UnreadableError(f"The reference {reference} leads out of its document, where nothing is read.")
    return [unquote(token).replace("~1", "/").replace("~0", "~") for token in reference[1:].split("/")[1:]]


def followed(root: Any, value: Any) -> Any:
    """Return `value`, or what it refers to, however many references that takes."""
    seen = set()
    while isinstance(value, dict) and isinstance(value.get("$ref"), str) and value["$ref"] not in seen:
        seen.add(value["$ref"])
        value = resolve(root, value["$ref"])
    return value


def name_of(value: Any) -> str:
    """Return the last name on the way of a reference object."""
    return tokens(value["$ref"])[-1]


def references(value: Any) -> Iterator[str]:
    """Go through the references inside a value."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def canonical(value: Any) -> str:
    """Return a text that two values share if JSON calls them equal: 1 is 1.0 and is not true."""
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=False)


def differ(one: Any, other: Any) -> bool:
    """Tell whether JSON calls two values different."""
    if one is None or other is None or isinstance(one, str) or isinstance(other, str):
        return bool(one != other)
    return canonical(one) != canonical(other)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def shown(value: Any) -> str:
    """Return a value as a sentence names it, cut where it is long."""
    text = canonical(value)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - what fits into a line
