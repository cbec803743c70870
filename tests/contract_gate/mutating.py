"""Mutations of the small system.

A message is changed in every document that has a copy of it, as regenerating the documents would.
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
    """A mutation, the id of its worst change, and the operations that it affects."""

    name: str
    id: str
    affects: tuple[str, ...]
    mutate: Mutate

    def __str__(self) -> str:
        return self.name


# ---- access to the documents


def every(system: Documents, *path: str) -> Iterator[Any]:
    """Yield the value at a path in every AsyncAPI document that has it."""
    for document in system.events:
        value: Any = document
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            yield value


def service(system: Documents, name: str) -> Json:
    return next(document for document in system.events if document["id"].endswith(f":{name}"))


def put(*path: str, **values: Any) -> Mutate:
    """Set keys at a path of every document."""

    def mutate(system: Documents) -> None:
        for target in every(system, *path):
            target.update(deepcopy(values))

    return mutate


def drop(*path: str) -> Mutate:
    """Remove the value at a path of every document."""

    def mutate(system: Documents) -> None:
        for target in every(system, *path[:-1]):
            target.pop(path[-1], None)

    return mutate


def field(schema: str, name: str, **values: Any) -> Mutate:
    """Set keywords of a field."""
    return put("components", "schemas", schema, "properties", name, **values)


def without(schema: str, name: str, *keywords: str) -> Mutate:
    """Remove keywords of a field."""
    return together(*(drop("components", "schemas", schema, "properties", name, keyword) for keyword in keywords))


def become(schema: str, name: str, schema_of_field: Any) -> Mutate:
    """Replace the schema of a field, or add a field."""
    return put("components", "schemas", schema, "properties", **{name: schema_of_field})


def required(schema: str, *names: str) -> Mutate:
    """Set the required fields."""
    return put("components", "schemas", schema, required=list(names))


def removed(schema: str, name: str) -> Mutate:
    """Remove a field, also from the required ones."""

    def mutate(system: Documents) -> None:
        for target in every(system, "components", "schemas", schema):
            target["properties"].pop(name)
            target["required"] = [one for one in target["required"] if one != name]

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


def http(*path: str, **values: Any) -> Mutate:
    """Set keys at a path of the OpenAPI document, or extend the list there."""

    def mutate(system: Documents) -> None:
        target = _at(system.http[0], path)
        if isinstance(target, list):
            target.extend(values.values())
        else:
            target.update(deepcopy(values))

    return mutate


def cut(*path: str) -> Mutate:
    """Remove the value at a path of the OpenAPI document."""

    def mutate(system: Documents) -> None:
        target = _at(system.http[0], path[:-1])
        del target[int(path[-1]) if isinstance(target, list) else path[-1]]

    return mutate


def _at(target: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        target = target[int(name)] if isinstance(target, list) else target[name]
    return target


TEXT, NULL = {"type": "string"}, {"type": "null"}
USER, NEW_USER = ("components", "schemas", "User"), ("components", "schemas", "NewUser")
GET, POST = ("paths", "/users/{user_id}", "get"), ("paths", "/users", "post")
FORM = ("paths", "/exports", "post", "requestBody", "content", "application/x-www-form-urlencoded", "schema")
SHOW = "GET /users/{user_id}"
