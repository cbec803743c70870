"""Names, references and prose in AsyncAPI documents."""

import re
from collections.abc import Iterable
from typing import Any

from contracts.errors import json_pointer


def ref(*path: str) -> dict[str, str]:
    """Return a JSON Reference to a part of the same document."""
    return {"$ref": f"#{json_pointer(path)}"}


def named(pairs: Iterable[tuple[str, Any]], what: str) -> dict[str, Any]:
    """Return the pairs sorted by name. Raises `ValueError` if two different values have one name."""
    values: dict[str, Any] = {}
    for name, value in pairs:
        if values.setdefault(name, value) != value:
            raise ValueError(f"two {what} have the same name: {name}")
    return dict(sorted(values.items()))


def prose(docstring: str | None) -> str:
    """Return a docstring's paragraphs, each on one line."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", docstring or "")).strip()


def described(docstring: str | None) -> dict[str, str]:
    """Return a docstring's first paragraph as `summary` and the rest, if any, as `description`."""
    summary, _, rest = prose(docstring).partition("\n\n")
    return {"summary": summary} | ({"description": rest} if rest else {})


def title(message: type[Any]) -> str:
    """Return a message's name as words: "CreatePayment" is "Create payment"."""
    first, *others = re.findall(r"[A-Z][a-z0-9]*", message.__name__)
    return " ".join([first, *(word.lower() for word in others)])
