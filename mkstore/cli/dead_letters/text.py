"""Formats dead letters for a terminal; escapes their control characters."""

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from contracts.headers import DEAD_ATTEMPTS, DEAD_CONSUMER, DEAD_DETAIL, DEAD_FIRST_TIME, DEAD_LAST_TIME

if TYPE_CHECKING:
    from kit.messaging.dead_letters import DeadLetterRecord

_MAX_SENTENCES = 20
_MAX_HEX_BYTES = 512
_BYTES_PER_LINE = 16


@dataclass
class Outcome:
    """The result of replaying or discarding the selected letters."""

    action: str
    done: int = 0
    failed: list[dict[str, object]] = field(default_factory=list)
    stopped: str = ""
    """Why the remaining letters were not processed; empty if they were."""

    def keep(self, letter_id: int | str, reason: str) -> None:
        """Record that one letter stays."""
        self.failed.append({"id": letter_id, "reason": reason})

    def sentences(self) -> list[str]:
        """Return a sentence for each letter that stays, at most twenty."""
        sentences = [printable(str(each["reason"])) for each in self.failed[:_MAX_SENTENCES]]
        if len(self.failed) > _MAX_SENTENCES:
            sentences.append(f"{len(self.failed)} letters stay.")
        return [*sentences, self.stopped] if self.stopped else sentences

    def as_json(self) -> str:
        """Return the result as JSON."""
        return json.dumps({self.action: self.done, "failed": self.failed, "stopped": self.stopped or None}, indent=2)


def is_subject(text: str) -> bool:
    """Return whether `text` is a NATS subject, with or without wildcards."""
    words = text.split(".")
    return all(words) and not any(c.isspace() or not c.isprintable() for c in text) and ">" not in words[:-1]


def printable(text: str) -> str:
    """Return `text` with every unprintable character except line feeds escaped."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def row(letter: "DeadLetterRecord") -> dict[str, Any]:
    """Return the columns of a letter in a list."""
    header = letter.headers.get
    return {
        "id": letter.id,
        "subject": printable(letter.subject),
        "reason": printable(letter.reason),
        "detail": printable(header(DEAD_DETAIL, "")),
        "attempts": int(attempts) if (attempts := header(DEAD_ATTEMPTS, "")).isdecimal() else None,
        "first": printable(header(DEAD_FIRST_TIME, "")),
        "last": printable(header(DEAD_LAST_TIME, "")),
        "stream": printable(letter.stream),
        "consumer": printable(header(DEAD_CONSUMER, "")),
        "requestId": printable(header("X-Request-Id", "")),
        "bytes": len(letter.body),
    }


def as_json(letter: "DeadLetterRecord") -> str:
    """Return a letter as JSON; its body as JSON if possible, else as text, else in base64."""
    encoding, body = _decode(letter.body)
    fields = row(letter) | {"headers": dict(letter.headers), "encoding": encoding, "body": body}
    return json.dumps(fields, indent=2)


def as_text(letter: "DeadLetterRecord") -> str:
    """Return a letter as text for a terminal."""
    lines = [f"{name + ':':<11} {value}" for name, value in row(letter).items()]
    lines += ["", "headers:", *(f"  {name}: {value}" for name, value in sorted(letter.headers.items()))]
    encoding, body = _decode(letter.body)
    if encoding == "json":
        text = json.dumps(body, indent=2, ensure_ascii=False)
    else:
        text = body if encoding == "text" else _hex(letter.body)
    return printable("\n".join([*lines, "", f"body ({encoding}):" if letter.body else "no body", text]))


def _decode(body: bytes) -> tuple[str, Any]:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "base64", base64.b64encode(body).decode()
    try:
        return "json", json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):  # a body may be nested too deeply
        return "text", text


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity are not JSON


def _hex(body: bytes) -> str:
    lines = [
        f"  {at:08x}  {body[at : at + _BYTES_PER_LINE].hex(' '):<47}  "
        + "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in body[at : at + _BYTES_PER_LINE])  # noqa: PLR2004 - ASCII
        for at in range(0, min(len(body), _MAX_HEX_BYTES), _BYTES_PER_LINE)
    ]
    return "\n".join([*lines, f"  ... {len(body)} bytes in total"] if len(body) > _MAX_HEX_BYTES else lines)
