"""How names, references and prose are written in a document."""

import re
from collections.abc import Iterable
from typing import Any

from contracts.errors import json_pointer


def ref(*path: str) -> dict[str, str]:
    """Return a JSON Reference to a part of the same document."""
    return {"$ref": f"#{json_pointer(path)}"}


def named(pairs: Iterable[tuple[str, Any]], what: str) -> dict[str, Any]:
    """Return the pairs in the order of their names; `ValueError` where two that differ have one name."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if found.setdefault(name, value) != value:
            raise ValueError(f"two {what} have the same name: {name}")
    return dict(sorted(found.items()))


def prose(docstring: str | None) -> str:
    """Return a docstring as paragraphs, each in one line."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", docstring or "")).strip()


def described(docstring: str | None) -> dict[str, str]:
    """Return a docstring's first paragraph as the summary and the rest, where there is more, as the description."""
    summary, _, rest = prose(docstring).partition("\n\n")
    return {"summary": summary} | ({"description": rest} if rest else {})


def title(message: type[Any]) -> str:
    """Return a message's name as words: "CreatePayment" is "Create payment"."""
    first, *others = re.findall(r"[A-Z][a-z0-9]*", message.__name__)
    return " ".join([first, *(word.lower() for word in others)])
