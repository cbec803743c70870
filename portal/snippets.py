"""Code that a stranger can copy from a message's page and run: with nats-py, and with the `nats` command.

Whatever comes out of a document stands in it as a literal, so that no text of one becomes code.
"""

import json
import re
import shlex
from typing import NamedTuple

from portal.documents import Json
from portal.facts import example_of
from portal.system import Channel, System

_PARAMETER = re.compile(r"\{[^{}]*\}")


class Snippet(NamedTuple):
    """A text to copy; `language` is `python` or `shell`."""

    language: str
    title: str
    text: str


def snippets(system: System, name: str) -> list[Snippet]:
    """Return how a message of this name is taken or sent, in each language; nothing for one that is only a reply."""
    kind, message = system.kind_of(name), system.messages[name]
    found = []
    for channel in system.channels_of(name)[:1]:
        match kind:
            case "event":
                found = [_follow(channel), _watch(channel)]
            case "request":
                found = [_ask(system, name, message, channel), _ask_in_shell(message, channel)]
            case "command" if channel.stream:
                found = [_order(message, channel), _order_in_shell(message, channel)]
            case _ if channel.stream:
                found = [_watch(channel)]
    return found


_HEAD = """\
# pip install nats-py
# NATS_URL is the server with your login: nats://user:password@host:4222
import asyncio
import json
import os

import nats
"""

_FOLLOW = (
    _HEAD
    + """
SUBJECT = {subject}
STREAM = {stream}
DURABLE = {durable}  # a name of your own: under it the stream keeps your place while you are away


async def main() -> None:
    client = await nats.connect(os.environ["NATS_URL"])
    events = await client.jetstream().pull_subscribe(SUBJECT, durable=DURABLE, stream=STREAM)
    handled = set()  # keep it where your work is kept, in the same transaction
    while True:
        try:
            messages = await events.fetch(10, timeout=5)
        except nats.errors.TimeoutError:
            continue  # nothing new
        for message in messages:
            event_id = message.headers["ce-id"]
            if event_id not in handled:  # an event may come twice, and then has the same id
                print(event_id, json.loads(message.data), flush=True)
                handled.add(event_id)
            await message.ack()  # after the work is done: without it the event comes again in 30 s


asyncio.run(main())
"""
)

_ASK = (
    _HEAD
    + """
SUBJECT = {subject}
REQUEST = {request}


async def main() -> None:
    client = await nats.connect(os.environ["NATS_URL"])
    headers = {{"content-type": {content_type}}}
    try:
        reply = await client.request(SUBJECT, json.dumps(REQUEST).encode(), timeout=5, headers=headers)
    except nats.errors.NoRespondersError:
        print("unavailable: nobody answers now; ask again later")
    except nats.errors.TimeoutError:
        print("no answer in time: it may have been carried out or not")
    else:
        body = json.loads(reply.data)
        slug = (reply.headers or {{}}).get("Nats-Service-Error")
        if slug:  # switch on the slug; `detail` is prose
            print("refused:", slug, body["detail"])
        else:
            print({reply}, body)
    await client.close()


asyncio.run(main())
"""
)

_ORDER = (
    _HEAD
    + """
STREAM = {stream}
# Its id is yours to choose, a new one for each: what is sent again with the same id is carried out once.
COMMAND = {command}


async def main() -> None:
    client = await nats.connect(os.environ["NATS_URL"])
    subject = {subject}
    headers = {headers}
    # It is certain to be carried out once this returns. Without an answer send the same again, with the same id.
    ack = await client.jetstream().publish(
        subject, json.dumps(COMMAND).encode(), stream=STREAM, headers=headers, timeout=5
    )
    print("kept in", ack.stream, "as", ack.seq, "(it was there already)" if ack.duplicate else "")
    await client.close()


asyncio.run(main())
"""
)


def _follow(channel: Channel) -> Snippet:
    durable = f"my-service-{re.sub(r'[^A-Za-z0-9_-]', '_', channel.address)}"
    values = {"subject": wildcard(channel), "stream": channel.stream.get("name", ""), "durable": durable}
    text = _FOLLOW.format(**{name: _text(value) for name, value in values.items()})
    return Snippet("python", "Take every event, durably", text)


def _ask(system: System, name: str, message: Json, channel: Channel) -> Snippet:
    replies = next((operation.replies for operation in system.by_message.get(name, ()) if operation.replies), ())
    text = _ASK.format(
        subject=_text(channel.address),
        request=_literal(example_of(message).get("payload", {})),
        content_type=_text(message.get("contentType", "application/json")),
        reply=_text(f"{next(iter(replies), 'reply')}:"),
    )
    return Snippet("python", "Ask, and read the reply or the refusal", text)


def _order(message: Json, channel: Channel) -> Snippet:
    text = _ORDER.format(
        stream=_text(channel.stream.get("name", "")),
        command=_literal(example_of(message).get("payload", {})),
        subject=_address(channel),
        headers=_headers(message),
    )
    return Snippet("python", "Send the command, and know that it is kept", text)


def _watch(channel: Channel) -> Snippet:
    stream = shlex.quote(channel.stream.get("name", ""))
    text = f'nats --server "$NATS_URL" sub --stream {stream} --all {shlex.quote(wildcard(channel))}\n'
    return Snippet("shell", "Look at what the stream keeps, and at what comes", text)


def _ask_in_shell(message: Json, channel: Channel) -> Snippet:
    body, kind = _body(message), message.get("contentType", "application/json")
    header = shlex.quote(f"content-type:{kind}")
    text = f'nats --server "$NATS_URL" request {shlex.quote(channel.address)} -H {header} \\\n  {shlex.quote(body)}\n'
    return Snippet("shell", "Ask", text)


def _order_in_shell(message: Json, channel: Channel) -> Snippet:
    headers = " ".join(f"-H {shlex.quote(f'{name}:{value}')}" for name, value in _command_headers(message).items())
    payload = example_of(message).get("payload", {})
    subject = _PARAMETER.sub(lambda found: str(_at(payload, _pointer(channel, found[0]))), channel.address)
    body = shlex.quote(_body(message))
    text = f'nats --server "$NATS_URL" pub --jetstream {shlex.quote(subject)} \\\n  {headers} \\\n  {body}\n'
    return Snippet("shell", "Send the command", text)


def wildcard(channel: Channel) -> str:
    """Return the subject with which everything in the channel is subscribed to."""
    if _PARAMETER.search(channel.address) is None:
        return channel.address
    subjects: list[str] = channel.stream.get("subjects") or [_PARAMETER.sub("*", channel.address)]
    return subjects[0]


def _command_headers(message: Json) -> Json:
    headers = example_of(message).get("headers", {})
    return {name: headers[name] for name in ("content-type", "Nats-Msg-Id") if name in headers}


def _headers(message: Json) -> str:
    """Write the headers as an expression; what is also a field of the command is looked up there."""
    payload = example_of(message).get("payload", {})
    said = []
    for name, value in _command_headers(message).items():
        field = next((key for key, found in payload.items() if found == value), None)
        said.append(f"{_text(name)}: {_text(str(value)) if field is None else f'COMMAND[{_text(field)}]'}")
    return f"{{{', '.join(said)}}}"


def _body(message: Json) -> str:
    return json.dumps(example_of(message).get("payload", {}), ensure_ascii=False)


def _literal(value: object, indent: str = "") -> str:
    """Write a value out of JSON as Python does, a line for each part."""
    inside = f"{indent}    "
    if isinstance(value, dict) and value:
        parts = "".join(f"{inside}{_text(str(key))}: {_literal(part, inside)},\n" for key, part in value.items())
        return f"{{\n{parts}{indent}}}"
    if isinstance(value, list) and value:
        return f"[\n{''.join(f'{inside}{_literal(part, inside)},{chr(10)}' for part in value)}{indent}]"
    return _text(value) if isinstance(value, str) else repr(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)  # what JSON escapes, Python reads alike


def _address(channel: Channel) -> str:
    """Write the subject as an expression, each parameter of which is looked up in the command."""
    parts = []
    at = 0
    for found in _PARAMETER.finditer(channel.address):
        parts.append(_text(channel.address[at : found.start()]))
        path = "".join(f"[{_text(key)}]" for key in _pointer(channel, found[0]))
        parts.append(f"COMMAND{path}")
        at = found.end()
    return " + ".join(part for part in [*parts, _text(channel.address[at:])] if part != '""') or '""'


def _pointer(channel: Channel, parameter: str) -> list[str]:
    said = channel.said.get("parameters", {}).get(parameter.strip("{}"), {})
    return [key for key in said.get("location", "").partition("#")[2].split("/") if key]


def _at(payload: object, keys: list[str]) -> object:
    for key in keys:
        payload = payload.get(key, "") if isinstance(payload, dict) else ""
    return payload
