"""Dead letters as an operator reads them: nothing that stands in one can command the terminal."""

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kit.messaging.dead_letters import DeadLetterRecord

_MOST_SENTENCES = 20
_HEX_BYTES = 512
_LINE = 16


@dataclass
class Outcome:
    """What became of the letters that somebody chose."""

    what: str
    done: int = 0
    failed: list[dict[str, object]] = field(default_factory=list)
    stopped: str = ""
    """Why none of the rest could go; empty where nothing stopped it."""

    def stays(self, letter: "DeadLetterRecord", why: str) -> None:
        """Note that one letter stays."""
        self.failed.append({"id": letter.id, "why": why})

    def sentences(self) -> list[str]:
        """Say what stays and why, at most twenty of them."""
        said = [printable(str(each["why"])) for each in self.failed[:_MOST_SENTENCES]]
        if len(self.failed) > _MOST_SENTENCES:
            said.append(f"{len(self.failed)} letters stay.")
        return [*said, self.stopped] if self.stopped else said

    def as_json(self) -> str:
        """Say it to a program."""
        return json.dumps({self.what: self.done, "failed": self.failed, "stopped": self.stopped or None}, indent=2)


def is_subject(text: str) -> bool:
    """Tell whether `text` is a subject of NATS, with or without wildcards."""
    words = text.split(".")
    return all(words) and not any(c.isspace() or not c.isprintable() for c in text) and ">" not in words[:-1]


def printable(text: str) -> str:
    """Return `text` with what a terminal would obey, or not show, written as an escape; lines stay lines."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def row(letter: "DeadLetterRecord") -> dict[str, Any]:
    """Return what a list says of a letter."""
    said = letter.headers.get
    return {
        "id": letter.id,
        "subject": printable(letter.subject),
        "reason": printable(letter.reason),
        "detail": printable(said("Dead-Detail", "")),
        "attempts": int(attempts) if (attempts := said("Dead-Attempts", "")).isdecimal() else None,
        "first": printable(said("Dead-First-Time", "")),
        "last": printable(said("Dead-Last-Time", "")),
        "stream": printable(letter.stream),
        "consumer": printable(said("Dead-Consumer", "")),
        "requestId": printable(said("X-Request-Id", "")),
        "bytes": len(letter.body),
    }


def as_json(letter: "DeadLetterRecord") -> str:
    """Write a letter for a program: its body as JSON, as text or, where it is neither, in base64."""
    encoding, body = _read(letter.body)
    whole = row(letter) | {"headers": dict(letter.headers), "encoding": encoding, "body": body}
    return json.dumps(whole, indent=2)


def for_people(letter: "DeadLetterRecord") -> str:
    """Write a letter for people."""
    lines = [f"{name + ':':<11} {value}" for name, value in row(letter).items()]
    lines += ["", "headers:", *(f"  {name}: {value}" for name, value in sorted(letter.headers.items()))]
    encoding, body = _read(letter.body)
    if encoding == "json":
        text = json.dumps(body, indent=2, ensure_ascii=False)
    else:
        text = body if encoding == "text" else _hex(letter.body)
    return printable("\n".join([*lines, "", f"body ({encoding}):" if letter.body else "no body", text]))


def _read(body: bytes) -> tuple[str, Any]:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return "base64", base64.b64encode(body).decode()
    try:
        return "json", json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):  # a body may be built to be unreadable
        return "text", text


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity are no JSON


def _hex(body: bytes) -> str:
    lines = [
        f"  {at:08x}  {body[at : at + _LINE].hex(' '):<47}  "
        + "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in body[at : at + _LINE])  # noqa: PLR2004 - ASCII
        for at in range(0, min(len(body), _HEX_BYTES), _LINE)
    ]
    return "\n".join([*lines, f"  ... {len(body)} bytes in all"] if len(body) > _HEX_BYTES else lines)
