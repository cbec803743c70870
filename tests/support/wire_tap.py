"""Record all messages on a running store's NATS and compare them with the AsyncAPI document."""

import asyncio
import copy
import json
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import nats
from jsonschema import Draft202012Validator
from nats.aio.msg import Msg

from contracts.logins import IMPORTED_API
from contracts.streams import STORED
from kit.asyncapi.reader import DocumentReader
from mkstore import generated
from tests.support.running_store import Running

_NATS_SUBJECTS = ("_INBOX.", "_R_.", "$JS.", f"{IMPORTED_API}.", "$SRV.")
"""Subjects of NATS itself: inboxes, replies between accounts, the JetStream API, the service protocol."""
_ERROR = "Nats-Service-Error"


@dataclass(frozen=True)
class WireMessage:
    """One message on the wire."""

    subject: str
    reply: str
    headers: dict[str, str]
    body: bytes


@contextmanager
def record_messages(store: Running) -> Iterator[list[WireMessage]]:
    """Yield a list to which every message is added until the end of the block."""
    recorded: list[WireMessage] = []
    subscribed, done = threading.Event(), threading.Event()

    async def record(message: Msg) -> None:
        recorded.append(WireMessage(message.subject, message.reply, dict(message.headers or {}), message.data))

    async def subscribe() -> None:
        clients = [await nats.connect(url, connect_timeout=5) for url in _logins(store)]
        for client in clients:
            await client.subscribe(">", cb=record)
            await client.flush()
        subscribed.set()
        await asyncio.to_thread(done.wait)
        for client in clients:
            await client.flush()
            await client.drain()

    thread = threading.Thread(target=asyncio.run, args=(subscribe(),), daemon=True)
    thread.start()
    assert subscribed.wait(60), "the subscription of the operator failed"
    try:
        yield recorded
    finally:
        done.set()
        thread.join(60)


def _logins(store: Running) -> tuple[str, str]:
    """Return the addresses with the operator's logins in the accounts of the streams and of the gateway.

    The one sees what is stored and the operator's requests, the other one the gateway's requests with their replies.
    """
    in_streams: str = store.record["nats"]["admin_url"]
    return in_streams, in_streams.replace("operator:", "operator-gateway:")


@dataclass
class Documents:
    """The AsyncAPI document of the whole system, read strictly: fields that it does not name are faults."""

    content: Any = field(
        default_factory=lambda: json.loads((generated.ROOT / "asyncapi/mkstore.json").read_text("utf-8"))
    )

    def __post_init__(self) -> None:
        self._components = _strict(self.content["components"])
        self._reader = DocumentReader(self.content)
        self._channels = {
            re.compile(_pattern(channel.address)): name
            for name, channel in self._reader.channels.items()
            if channel.address
        }

    @property
    def names(self) -> set[str]:
        """Names of all documented messages, as `check` returns them: the channel's, `CHANNEL.reply`, or `problem`."""
        replies = [name.removesuffix(".reply") for name in self.content["channels"] if name.endswith(".reply")]
        single = {name for name in self.content["channels"] if not name.endswith(".reply")}
        return single | {f"{name}.reply" for name in replies} | {"problem"}

    def check(self, recorded: Iterable[WireMessage]) -> tuple[dict[str, WireMessage], list[str]]:
        """Return the first message of each name, and a sentence per message that does not match the document."""
        examples: dict[str, WireMessage] = {}
        faults: list[str] = []
        replies: dict[str, str] = {}
        for each in recorded:
            name = self._name_of(each, replies)
            if name is None:
                if not each.subject.startswith(_NATS_SUBJECTS):
                    faults.append(f"{each.subject} is not documented")
                continue
            if not name.startswith(STORED):  # a copy of another message
                examples.setdefault(name, each)
            if f"{name}.reply" in self.content["channels"]:
                replies[each.reply] = name
            faults += [f"{name}: {fault}: {each}" for fault in self._faults(name, each)]
        return examples, faults

    def _name_of(self, each: WireMessage, replies: dict[str, str]) -> str | None:
        """Return the name of a message; that of a republished one is the prefix and the name of the channel."""
        if each.subject in replies:
            if "Status" in each.headers:  # from NATS itself: no responders
                return None
            return "problem" if _ERROR in each.headers else f"{replies[each.subject]}.reply"
        names = (name for pattern, name in self._channels.items() if pattern.fullmatch(each.subject))
        return next(names, None) or self._republished(each.subject)

    def _republished(self, subject: str) -> str | None:
        for pattern, name in self._channels.items():
            stream = self.content["channels"][name].get("x-nats", {}).get("stream", {})
            if (republish := stream.get("republish")) and pattern.fullmatch(subject.removeprefix(republish["prefix"])):
                return f"{republish['prefix']}{name}"
        return None

    def _faults(self, name: str, each: WireMessage) -> Iterator[str]:
        headers = {header: value for header, value in each.headers.items() if name == "dead" or value != ""}
        if name not in self.content["channels"] and name.startswith(STORED):
            name = name.removeprefix(STORED)
            added = self.content["channels"][name]["x-nats"]["stream"]["republish"]["headers"]
            yield from self._violations(added, {header: headers.pop(header, None) for header in added["properties"]})
        message = self._message(name)
        yield from self._violations(message["headers"], headers)
        try:
            body = json.loads(each.body)
        except ValueError:
            if name != "dead":
                yield "its body is not JSON"
            return
        yield from self._violations(message["payload"], body)
        if name == "problem":
            kinds = {refusal["slug"]: refusal["kind"] for refusal in message["x-problems"]}
            if kinds.get(body["slug"]) != body["kind"]:
                yield "it is a problem that is not documented"

    def _message(self, name: str) -> Any:
        if name == "problem":
            return self._components["messages"]["Problem"]
        (message,) = (message for message in self._reader.channels[name].messages if message != "Problem")
        return self._components["messages"][message]

    def _violations(self, reference: Any, value: Any) -> Iterator[str]:
        schema = {**reference, "components": self._components}
        checker = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        yield from (f"{error.json_path} {error.message}" for error in checker.iter_errors(value))


def _pattern(address: str) -> str:
    token = {"subject": r".+"}  # a dead letter's subject is a whole one
    parts = re.split(r"\{(\w+)\}", address)
    return "".join(
        re.escape(part) if number % 2 == 0 else token.get(part, r"[^.]+") for number, part in enumerate(parts)
    )


def _strict(components: Any) -> Any:
    """Forbid additional properties in every object schema."""
    strict = copy.deepcopy(components)
    for schema in strict["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return strict
