"""One AsyncAPI document of the whole system, merged from those of the services."""

import copy
import functools
import operator
from collections.abc import Mapping
from typing import Any

from contracts.errors import Problem
from kit.asyncapi.messages import REFUSALS
from kit.asyncapi.writing import named


def merged(documents: Mapping[str, Mapping[str, Any]], *, title: str, description: str) -> dict[str, Any]:
    """Return the merged document. Raises `ValueError` if two documents differ under one name.

    Each service lists its own problems; the merged document lists all of them.
    """
    documents = copy.deepcopy(dict(documents))  # the problems in them are replaced below
    first = next(iter(documents.values()))
    refusals = named(
        (
            (refusal["slug"], refusal)
            for document in documents.values()
            for message in document["components"]["messages"].values()
            for refusal in message.get(REFUSALS, [])
        ),
        "refusals",
    )

    for document in documents.values():
        if problem := document["components"]["messages"].get(Problem.__name__):
            problem[REFUSALS] = list(refusals.values())

    def all_of(*path: str) -> dict[str, Any]:
        parts = [functools.reduce(operator.getitem, path, document) for document in documents.values()]
        return named(((name, part) for each in parts for name, part in each.items()), path[-1])

    return {
        "asyncapi": first["asyncapi"],
        "id": "urn:mkstore",
        "info": {**first["info"], "title": title, "description": description},
        "defaultContentType": first["defaultContentType"],
        "servers": first["servers"],
        "channels": all_of("channels"),
        "operations": all_of("operations"),
        "components": {
            "messages": all_of("components", "messages"),
            "schemas": all_of("components", "schemas"),
            "securitySchemes": all_of("components", "securitySchemes"),
        },
    }
