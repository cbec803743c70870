"""Ways to change the small system.

A change of a message is made in every document that has a copy of it, as regenerating them would.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from contract_gate.sources import Documents
from tests.contract_gate.writing import Json

Mutate = Callable[[Documents], None]


@dataclass(frozen=True)
class Mutation:
    """A change, the id that its worst finding has, and whom that hits."""

    name: str
    id: str
    hits: tuple[str, ...]
    mutate: Mutate

    def __str__(self) -> str:
        return self.name


# ---- ways to reach into the documents


def every(system: Documents, *way: str) -> Iterator[Any]:
    """Go through what is at a place, in every AsyncAPI document that has it."""
    for document in system.events:
        found: Any = document
        for name in way:
            found = found.get(name) if isinstance(found, dict) else None
        if found is not None:
            yield found


def service(system: Documents, name: str) -> Json:
    return next(document for document in system.events if document["id"].endswith(f":{name}"))


def put(*way: str, **values: Any) -> Mutate:
    """Set keys of what is at a place of every document."""

    def mutate(system: Documents) -> None:
        for found in every(system, *way):
            found.update(deepcopy(values))

    return mutate


def drop(*way: str) -> Mutate:
    """Remove what is at a place of every document."""

    def mutate(system: Documents) -> None:
        for found in every(system, *way[:-1]):
            found.pop(way[-1], None)

    return mutate


def field(schema: str, name: str, **values: Any) -> Mutate:
    """Set keywords of a field."""
    return put("components", "schemas", schema, "properties", name, **values)


def without(schema: str, name: str, *keywords: str) -> Mutate:
    """Remove keywords of a field."""
    return together(*(drop("components", "schemas", schema, "properties", name, keyword) for keyword in keywords))


def become(schema: str, name: str, said: Any) -> Mutate:
    """Give a field another schema, or add one."""
    return put("components", "schemas", schema, "properties", **{name: said})


def required(schema: str, *names: str) -> Mutate:
    """Say which fields must be there."""
    return put("components", "schemas", schema, required=list(names))


def gone(schema: str, name: str) -> Mutate:
    """Remove a field, and that it is required."""

    def mutate(system: Documents) -> None:
        for found in every(system, "components", "schemas", schema):
            found["properties"].pop(name)
            found["required"] = [one for one in found["required"] if one != name]

    return mutate


def stream(channel: str, **values: Any) -> Mutate:
    return put("channels", channel, "x-nats", "stream", **values)


def operation(name: str, **values: Any) -> Mutate:
    return put("operations", name, **values)


def facts(name: str, **values: Any) -> Mutate:
    return put("operations", name, "x-nats", **values)


def together(*mutations: Mutate) -> Mutate:
    def mutate(system: Documents) -> None:
        for one in mutations:
            one(system)

    return mutate


def http(*way: str, **values: Any) -> Mutate:
    """Set keys of what is at a place of the OpenAPI document, or add to the list there."""

    def mutate(system: Documents) -> None:
        found = _at(system.http[0], way)
        if isinstance(found, list):
            found.extend(values.values())
        else:
            found.update(deepcopy(values))

    return mutate


def cut(*way: str) -> Mutate:
    """Remove what is at a place of the OpenAPI document."""

    def mutate(system: Documents) -> None:
        found = _at(system.http[0], way[:-1])
        del found[int(way[-1]) if isinstance(found, list) else way[-1]]

    return mutate


def _at(found: Any, way: tuple[str, ...]) -> Any:
    for name in way:
        found = found[int(name)] if isinstance(found, list) else found[name]
    return found


TEXT, NULL = {"type": "string"}, {"type": "null"}
USER, NEW_USER = ("components", "schemas", "User"), ("components", "schemas", "NewUser")
GET, POST = ("paths", "/users/{user_id}", "get"), ("paths", "/users", "post")
TOKEN = ("paths", "/auth/token", "post", "requestBody", "content", "application/x-www-form-urlencoded", "schema")
SHOW = "GET /users/{user_id}"
