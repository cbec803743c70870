"""What is true of every message, so of the next one too."""

import json
import re
from collections import Counter
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from contracts.base import Message, Request
from contracts.streams import DEAD_LETTERS, STREAMS
from tests.architecture.messages import BASES, COMMANDS, EVENTS, MESSAGES, REQUESTS, defined
from tests.architecture.sources import imported, modules

OWNERS = {"users": "user", "payments": "payment"}
"""The plural of a request's subject, the singular of an event's."""
NOUNS = {"users.jwks", "users.sessions"}
"""Requests whose subject is what is asked for, and no verb."""
VERSION = r"(\.v[2-9][0-9]*)?"


def covers(pattern: str, subject: str) -> bool:
    """Tell whether a subject with NATS' wildcards covers another one."""
    parts = (r"[^.]+" if part == "*" else ".+" if part == ">" else re.escape(part) for part in pattern.split("."))
    return re.fullmatch(r"\.".join(parts), subject) is not None


def example(message: type[Message]) -> dict[str, Any]:
    """Return the example that the message's documentation shows."""
    extra = message.model_config.get("json_schema_extra")
    assert isinstance(extra, dict)
    examples = extra["examples"]
    assert isinstance(examples, list)
    (shown,) = examples
    assert isinstance(shown, dict)
    return shown


def owner(message: type[Message]) -> str:
    """Return the service to whose contract the message belongs."""
    return message.__module__.removeprefix("contracts.")


def words(message: type[Message]) -> list[str]:
    """Return the words of a message's name, in small letters."""
    return [word.lower() for word in re.findall(r"[A-Z][a-z]*", message.__name__)]


def test_there_are_messages_of_every_kind() -> None:
    assert all([REQUESTS, COMMANDS, EVENTS])


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_is_an_imperative_under_its_plural_owner(request_: type[Request[Any]]) -> None:
    assert re.fullmatch(rf"{owner(request_)}\.[a-z]+(_[a-z]+)*{VERSION}", request_.subject)
    assert owner(request_) in OWNERS
    verb = request_.subject.split(".")[1].split("_")[0]
    assert request_.subject in NOUNS or words(request_)[0] == verb


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_an_imperative_under_its_plural_owner_with_an_id(command: type[Any]) -> None:
    verb, what = words(command)
    assert re.fullmatch(rf"{owner(command)}\.{verb}\.\{{{what}Id\}}{VERSION}", command.subject)
    assert what == OWNERS[owner(command)]


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_a_participle_under_its_singular_owner(event: type[Any]) -> None:
    what, happened = words(event)
    assert re.fullmatch(rf"{OWNERS[owner(event)]}\.{happened}{VERSION}", event.subject)
    assert what == OWNERS[owner(event)]
    assert happened.endswith("ed")


def test_no_two_messages_share_a_subject() -> None:
    messages: list[Any] = [*REQUESTS, *COMMANDS, *EVENTS]
    subjects = Counter(message.subject for message in messages)
    assert not [subject for subject, times in subjects.items() if times > 1]


@pytest.mark.parametrize("request_", REQUESTS)
def test_no_stream_covers_a_request(request_: type[Request[Any]]) -> None:
    # It would answer the caller with its own acknowledgement.
    assert not [stream.name for stream in STREAMS for pattern in stream.subjects if covers(pattern, request_.subject)]


@pytest.mark.parametrize("message", [*COMMANDS, *EVENTS])
def test_one_stream_keeps_each_command_and_event(message: type[Any]) -> None:
    keepers = [stream.name for stream in STREAMS for pattern in stream.subjects if covers(pattern, message.subject)]
    singular = OWNERS[owner(message)].upper()
    assert keepers == [f"{singular}_{'COMMANDS' if message in COMMANDS else 'EVENTS'}"]


@pytest.mark.parametrize("message", [*COMMANDS, *EVENTS])
def test_a_dead_one_is_kept_among_the_dead(message: type[Any]) -> None:
    assert any(covers(pattern, f"dead.{message.subject}") for pattern in DEAD_LETTERS.subjects)


def test_every_class_of_the_contracts_is_used_outside_of_them() -> None:
    used = {name for path in modules("apps", "kit", "mkstore") for name in imported(path)}
    unused = {f"{found.__module__}.{found.__name__}" for found in defined()} - used
    # What is only ever a part of a message is used with it.
    parts = {part for message in MESSAGES for part in _parts(message)} | {"contracts.base.Request"}
    assert not unused - parts


def _parts(message: type[Message]) -> set[str]:
    return {f"{message.__module__}.{name}" for name in message.model_json_schema().get("$defs", {})}


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_says_what_it_means(message: type[Message]) -> None:
    assert message.__doc__
    assert message.__doc__ not in {base.__doc__ for base in BASES}


@pytest.mark.parametrize("message", MESSAGES)
def test_an_example_is_valid_and_comes_back_as_it_was(message: type[Message]) -> None:
    shown = example(message)
    schema = message.model_json_schema()
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(shown)
    read = message.model_validate_json(json.dumps(shown))
    assert json.loads(read.model_dump_json(exclude_unset=True)) == shown
    assert message.model_validate_json(read.model_dump_json()) == read


@pytest.mark.parametrize("message", MESSAGES)
def test_the_example_is_the_messages_own(message: type[Message]) -> None:
    # One that is inherited would show what the message is not.
    assert all(example(message) != example(other) for other in message.__mro__[1:] if other in MESSAGES)


@pytest.mark.parametrize("message", MESSAGES)
def test_what_it_answers_with_is_valid_by_its_documented_schema(message: type[Message]) -> None:
    read = message.model_validate_json(json.dumps(example(message)))
    schema = message.model_json_schema(mode="serialization")
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(
        json.loads(read.model_dump_json())
    )


@pytest.mark.parametrize("message", MESSAGES)
def test_a_field_is_in_camel_case_on_the_wire(message: type[Message]) -> None:
    names = message.model_json_schema().get("properties", {})
    assert all(re.fullmatch(r"[a-z][a-zA-Z0-9]*", name) for name in names)


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_is_frozen_and_ignores_what_it_does_not_know(message: type[Message]) -> None:
    read = message.model_validate_json(json.dumps(example(message) | {"aFieldOfTomorrow": [1]}))
    assert read == message.model_validate_json(json.dumps(example(message)))
    for name in message.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(read, name, None)
