"""JSON values: references (RFC 6901 in a fragment), equality, and errors for malformed documents."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from referencing import Registry, Resource
from referencing.exceptions import Unresolvable

_RESOLVER: Any = Registry().resolver()


class UnreadableError(Exception):
    """A document cannot be read or compared; the text is a sentence for a person."""


@contextmanager
def malformed(place: str) -> Iterator[None]:
    """Raise `UnreadableError` in place of the errors that a malformed document causes."""
    try:
        yield
    except RecursionError:
        raise UnreadableError(f"{place} is nested too deeply to be compared.") from None
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise UnreadableError(f"{place} is malformed: {type(error).__name__}: {error}.") from error


def resolve(root: Any, reference: str) -> Any:
    """Return the target of a local reference. Raises `UnreadableError` if there is none."""
    _check_local(reference)
    try:
        return Resource.opaque(root).pointer(reference[1:], _RESOLVER).contents
    except (Unresolvable, TypeError, ValueError):
        raise UnreadableError(f"The reference {reference} cannot be resolved.") from None


def tokens(reference: Any) -> list[str]:
    """Return the tokens of a local reference, at least one. Raises `UnreadableError` if it leaves its document."""
    _check_local(reference)
    return [unquote(token).replace("~1", "/").replace("~0", "~") for token in reference.split("/")[1:]]


def followed(root: Any, value: Any) -> Any:
    """Return `value`, or the value that it refers to through any number of references."""
    seen = set()
    while isinstance(value, dict) and isinstance(value.get("$ref"), str) and value["$ref"] not in seen:
        seen.add(value["$ref"])
        value = resolve(root, value["$ref"])
    return value


def _check_local(reference: Any) -> None:
    if not isinstance(reference, str) or not reference.startswith("#/"):
        raise UnreadableError(f"The reference {reference} is not to a place in its own document.")


def last_token(value: Any) -> str:
    """Return the last token of a reference object, which is the name of its target."""
    return tokens(value["$ref"])[-1]


def references(value: Any) -> Iterator[str]:
    """Yield the references inside a value."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=False)


def canonical(value: Any) -> str:
    """Return a text that is the same for values that are equal in JSON: 1 equals 1.0 but not true."""
    text = _ENCODER.encode(value)
    if ".0" in text or "e+" in text:  # it may contain a float that is an integer
        return _ENCODER.encode(_with_integers(value))
    return text


def differ(one: Any, other: Any) -> bool:
    """Return whether two values differ in JSON."""
    if one is other:
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() != other.keys() or any(differ(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) != len(other) or any(map(differ, one, other))
    return isinstance(one, bool) != isinstance(other, bool) or bool(one != other)


def _with_integers(value: Any) -> Any:
    """Return the value with integers in place of floats that are integers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _with_integers(inner) for key, inner in value.items()}
    return [_with_integers(inner) for inner in value] if isinstance(value, list | tuple) else value


def shown(value: Any) -> str:
    """Return a value as JSON for a message, truncated to 60 characters."""
    text = canonical(value)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - what fits into a line
