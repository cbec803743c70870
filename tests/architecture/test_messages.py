"""Rules that every message follows."""

import json
import re
from collections import Counter
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from contracts.base import CommandBatch, Event, Message, Request
from contracts.streams import DEAD_LETTERS, STREAMS
from tests.architecture.messages import BASES, COMMANDS, EVENTS, MESSAGES, REQUESTS, defined
from tests.architecture.sources import imported, modules

NOUN_OF = {"users": "user", "sessions": "session", "keys": "key", "payments": "payment"}
"""Module of the contracts: first part of the subject of its events."""
SERVICE_OF = {"users": "users", "sessions": "users", "keys": "users", "payments": "payments"}
"""Module of the contracts: first part of the subject of its requests, the service that owns it."""
NOUNS = {"users.jwks", "users.sessions"}
"""Subjects of requests without a verb."""
VERSION = r"(\.v[2-9][0-9]*)?"


def covers(pattern: str, subject: str) -> bool:
    """Return whether a subject with NATS wildcards covers another one."""
    parts = (r"[^.]+" if part == "*" else ".+" if part == ">" else re.escape(part) for part in pattern.split("."))
    return re.fullmatch(r"\.".join(parts), subject) is not None


def example(message: type[Message]) -> dict[str, Any]:
    """Return the documented example of a message."""
    extra = message.model_config.get("json_schema_extra")
    assert isinstance(extra, dict)
    examples = extra["examples"]
    assert isinstance(examples, list)
    (shown,) = examples
    assert isinstance(shown, dict)
    return shown


def module(message: type[Message]) -> str:
    """Return the module of the contracts that defines the message."""
    return message.__module__.removeprefix("contracts.")


def owner(message: type[Message]) -> str:
    """Return the service that owns the message."""
    return SERVICE_OF[module(message)]


def words(message: type[Message]) -> list[str]:
    """Return the words of a message's name, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z][a-z]*", message.__name__)]


def test_contracts_have_messages_of_each_type() -> None:
    assert all([REQUESTS, COMMANDS, EVENTS])


@pytest.mark.parametrize("request_", REQUESTS)
def test_request_subject_is_plural_owner_and_verb(request_: type[Request[Any]]) -> None:
    assert re.fullmatch(rf"{owner(request_)}\.[a-z]+(_[a-z]+)*{VERSION}", request_.subject)
    verb = request_.subject.split(".")[1].split("_")[0]
    assert request_.subject in NOUNS or words(request_)[0] == verb


@pytest.mark.parametrize("command", COMMANDS)
def test_command_subject_is_plural_owner_verb_and_id(command: type[Any]) -> None:
    """A batch is named in the plural; `key` and `batch` tell the subjects of one command and of a batch apart."""
    verb, what = words(command)
    noun = NOUN_OF[module(command)]
    if issubclass(command, CommandBatch):
        assert command.subject == f"{owner(command)}.{verb}.batch.{{batch}}"
        assert what == f"{noun}s"
    else:
        assert re.fullmatch(rf"{owner(command)}\.{verb}(\.key)?\.\{{{what}Id\}}{VERSION}", command.subject)
        assert what == noun


@pytest.mark.parametrize("event", EVENTS)
def test_event_subject_is_singular_owner_and_participle(event: type[Any]) -> None:
    what, happened = words(event)
    assert re.fullmatch(rf"{NOUN_OF[module(event)]}\.{happened}{VERSION}", event.subject)
    assert what == NOUN_OF[module(event)]
    assert happened.endswith("ed")


@pytest.mark.parametrize("event", EVENTS)
def test_schema_version_of_an_event_is_at_least_that_of_its_subject(event: type[Event]) -> None:
    versioned = re.search(r"\.v([0-9]+)$", event.subject)
    assert event.schema_version >= (int(versioned[1]) if versioned else 1)


def test_subjects_are_unique() -> None:
    messages: list[Any] = [*REQUESTS, *COMMANDS, *EVENTS]
    subjects = Counter(message.subject for message in messages)
    assert not [subject for subject, times in subjects.items() if times > 1]


@pytest.mark.parametrize("request_", REQUESTS)
def test_no_stream_covers_a_request_subject(request_: type[Request[Any]]) -> None:
    # Its acknowledgement would reach the caller as the reply.
    assert not [stream.name for stream in STREAMS for pattern in stream.subjects if covers(pattern, request_.subject)]


@pytest.mark.parametrize("message", [*COMMANDS, *EVENTS])
def test_exactly_one_stream_stores_each_command_and_event(message: type[Any]) -> None:
    stored_in = [stream.name for stream in STREAMS for pattern in stream.subjects if covers(pattern, message.subject)]
    singular = NOUN_OF[owner(message)].upper()
    keyed = "KEYED_" if ".key." in message.subject else ""
    assert stored_in == [f"{keyed}{singular}_{'COMMANDS' if message in COMMANDS else 'EVENTS'}"]


@pytest.mark.parametrize("message", [*COMMANDS, *EVENTS])
def test_dead_letters_store_each_command_and_event(message: type[Any]) -> None:
    assert any(covers(pattern, f"dead.{message.subject}") for pattern in DEAD_LETTERS.subjects)


def test_every_class_of_the_contracts_is_used_elsewhere() -> None:
    used = {name for path in modules("apps", "kit", "mkstore") for name in imported(path)}
    unused = {f"{each.__module__}.{each.__name__}" for each in defined()} - used
    # A class that is only used as a part of a message counts as used.
    parts = {part for message in MESSAGES for part in _parts(message)}
    parts |= {"contracts.base.Page", "contracts.base.Request"}
    assert not unused - parts


def _parts(message: type[Message]) -> set[str]:
    return {f"{message.__module__}.{name}" for name in message.model_json_schema().get("$defs", {})}


@pytest.mark.parametrize("message", MESSAGES)
def test_message_has_its_own_docstring(message: type[Message]) -> None:
    assert message.__doc__
    assert message.__doc__ not in {base.__doc__ for base in BASES}


@pytest.mark.parametrize("message", MESSAGES)
def test_example_is_valid_and_round_trips(message: type[Message]) -> None:
    shown = example(message)
    schema = message.model_json_schema()
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(shown)
    read = message.model_validate_json(json.dumps(shown))
    assert json.loads(read.model_dump_json(exclude_unset=True)) == shown
    assert message.model_validate_json(read.model_dump_json()) == read


@pytest.mark.parametrize("message", MESSAGES)
def test_example_is_not_inherited(message: type[Message]) -> None:
    # An inherited example would show another message.
    assert all(example(message) != example(other) for other in message.__mro__[1:] if other in MESSAGES)


@pytest.mark.parametrize("message", MESSAGES)
def test_serialized_example_fits_the_documented_schema(message: type[Message]) -> None:
    read = message.model_validate_json(json.dumps(example(message)))
    schema = message.model_json_schema(mode="serialization")
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(
        json.loads(read.model_dump_json())
    )


@pytest.mark.parametrize("message", MESSAGES)
def test_field_is_in_camel_case_on_the_wire(message: type[Message]) -> None:
    names = message.model_json_schema().get("properties", {})
    assert all(re.fullmatch(r"[a-z][a-zA-Z0-9]*", name) for name in names)


@pytest.mark.parametrize("message", MESSAGES)
def test_message_is_frozen_and_ignores_unknown_fields(message: type[Message]) -> None:
    read = message.model_validate_json(json.dumps(example(message) | {"aFieldOfTomorrow": [1]}))
    assert read == message.model_validate_json(json.dumps(example(message)))
    for name in message.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(read, name, None)
