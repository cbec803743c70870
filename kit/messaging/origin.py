"""Tells messages that a service has published from copies of stored messages.

JetStream sends what is read from a stream to any subject that the reader names, and does not check that the reader may
publish there. A stream that keeps this subject stores the copy. The copy still has the header `Nats-Stream`, which
JetStream appends and which no reader can remove. See docs/adr/0029-rights-on-nats-and-postgresql.md.
"""

from collections.abc import Mapping

from nats.aio.msg import Msg

from contracts.headers import STORED_SEQUENCE, STORED_STREAM, STORED_SUBJECT
from contracts.streams import Stream, covers
from kit.errors import NonRetryable
from kit.messaging.nats_compat import COPIED

_ACKNOWLEDGEMENT = "$JS.ACK."


class CopiedMessage(NonRetryable):
    """A message on a subject of commands or events is a copy of a message of another subject."""

    def __init__(self) -> None:
        super().__init__("no service published this message here: it was copied from a stream")


def is_from_jetstream(message: Msg) -> bool:
    """Return whether JetStream has sent the message from a stream; then it is not a request."""
    return message.reply.startswith(_ACKNOWLEDGEMENT) or STORED_SEQUENCE in (message.headers or ())


def is_copy(headers: Mapping[str, str] | None) -> bool:
    """Return whether a message that a consumer has delivered was copied into its stream."""
    return STORED_STREAM in (headers or ())


def is_of(stream: Stream, message: Msg) -> bool:
    """Return whether `stream` itself has republished the message, or was read.

    A follower listens on the subjects of republished messages, to which JetStream also sends what is read elsewhere.
    """
    return (message.headers or {}).get(STORED_STREAM) == stream.name


def is_original(stream: Stream, headers: Mapping[str, str] | None) -> bool:
    """Return whether a message that `stream` has republished, or that was read from it, was published to it.

    A message of another subject was copied with a pull, which leaves no header.
    """
    headers = headers or {}
    return COPIED not in headers and any(covers(subject, headers[STORED_SUBJECT]) for subject in stream.subjects)
