"""Code examples on a message's page: Python with nats-py, and the `nats` command.

The templates write every value of a document as a literal or a quoted argument, so no text of a document becomes code.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from kit.asyncapi.reader import DocumentedChannel, DocumentReader, Json, wildcard_subject
from portal.delivery import example_of
from portal.templates import render

_PARAMETER = re.compile(r"\{([^{}]*)\}")


class Snippet(NamedTuple):
    """A text to copy; `language` is `python` or `shell`."""

    language: str
    title: str
    text: str


def snippets(system: DocumentReader, name: str) -> list[Snippet]:
    """Return the code that consumes, requests or publishes a message; empty for replies and problems."""
    message = system.messages[name]
    for channel in system.channels_of(name)[:1]:
        match system.kind_of(name):
            case "event":
                return [_consume(channel), _subscribe_in_shell(channel)]
            case "request":
                return [_request(system, name, channel), _request_in_shell(message, channel)]
            case "command" if channel.stream:
                return [_command(message, channel), _command_in_shell(message, channel)]
            case _ if channel.stream:
                return [_subscribe_in_shell(channel)]
    return []


def _snippet(title: str, template: str, /, **values: Any) -> Snippet:
    language = "python" if template.endswith(".py") else "shell"
    return Snippet(language, title, render(f"snippets/{template}.jinja", **values) + "\n")


def _consume(channel: DocumentedChannel) -> Snippet:
    return _snippet(
        "Consume each event with a durable consumer",
        "consume.py",
        subject=_subscription(channel),
        stream=channel.stream.get("name", ""),
        durable=f"my-service-{re.sub(r'[^A-Za-z0-9_-]', '_', channel.address)}",
    )


def _request(system: DocumentReader, name: str, channel: DocumentedChannel) -> Snippet:
    message = system.messages[name]
    replies = next((operation.replies for operation in system.by_message.get(name, ()) if operation.replies), ())
    return _snippet(
        "Send the request and read the reply or the problem",
        "request.py",
        subject=channel.address,
        request=_payload(message),
        content_type=message.get("contentType", "application/json"),
        reply=f"{next(iter(replies), 'reply')}:",
    )


def _command(message: Json, channel: DocumentedChannel) -> Snippet:
    payload = _payload(message)
    headers = [
        (name, str(value), next((key for key, field in payload.items() if field == value), None))
        for name, value in _command_headers(message).items()
    ]
    return _snippet(
        "Publish the command and wait until it is stored",
        "command.py",
        stream=channel.stream.get("name", ""),
        command=payload,
        subject=list(_subject_terms(channel)),
        headers=headers,
    )


def _subscribe_in_shell(channel: DocumentedChannel) -> Snippet:
    return _snippet(
        "Show stored and new messages",
        "subscribe.sh",
        stream=channel.stream.get("name", ""),
        subject=_subscription(channel),
    )


def _request_in_shell(message: Json, channel: DocumentedChannel) -> Snippet:
    content_type = message.get("contentType", "application/json")
    return _snippet(
        "Send the request",
        "request.sh",
        subject=channel.address,
        header=f"content-type:{content_type}",
        body=_body(message),
    )


def _command_in_shell(message: Json, channel: DocumentedChannel) -> Snippet:
    payload = _payload(message)
    terms = _subject_terms(channel)
    subject = "".join(term if isinstance(term, str) else str(_value_at(payload, term)) for term in terms)
    return _snippet(
        "Publish the command",
        "command.sh",
        subject=subject,
        headers=[f"{name}:{value}" for name, value in _command_headers(message).items()],
        body=_body(message),
    )


def _subscription(channel: DocumentedChannel) -> str:
    """Return the subject that matches everything in the channel."""
    wildcard = wildcard_subject(channel.address)
    if wildcard == channel.address:
        return wildcard
    subjects: list[str] = channel.stream.get("subjects") or [wildcard]
    return subjects[0]


def _subject_terms(channel: DocumentedChannel) -> Iterator[str | list[str]]:
    """Yield the fixed texts of the subject and, for each parameter, its path in the command's body, in order."""
    for index, part in enumerate(_PARAMETER.split(channel.address)):
        if index % 2:
            yield _path(channel, part)
        elif part:
            yield part


def _path(channel: DocumentedChannel, parameter: str) -> list[str]:
    location = channel.content.get("parameters", {}).get(parameter, {}).get("location", "")
    return [key for key in location.partition("#")[2].split("/") if key]


def _value_at(payload: object, path: list[str]) -> object:
    for key in path:
        payload = payload.get(key, "") if isinstance(payload, dict) else ""
    return payload


def _payload(message: Json) -> Any:
    return example_of(message).get("payload", {})


def _body(message: Json) -> str:
    return json.dumps(_payload(message), ensure_ascii=False)


def _command_headers(message: Json) -> Json:
    headers = example_of(message).get("headers", {})
    return {name: headers[name] for name in ("content-type", "Nats-Msg-Id") if name in headers}
