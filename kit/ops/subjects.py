"""Messages that nothing handles: in a stream, on a subject that its owner neither publishes nor consumes."""

import json
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from typing import Any

from nats.js.errors import APIError, NotFoundError

from contracts.streams import Stream, covers
from kit.errors import NATS, HealthWarning, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.nats_compat import api_subject
from kit.runtime.clock import SYSTEM_CLOCK, SystemClock

Handled = Mapping[Stream, Collection[str]]
"""The subjects, with NATS wildcards, that the owner of a stream publishes to it or consumes from it."""

MAX_SUBJECTS = 1000
"""Subjects of a stream up to which a process compares them: the reply of NATS contains all, about 60 bytes each."""
MAX_AGE = 60.0
"""Seconds for which a process reports the same result."""
_SHOWN = 5
_REQUEST_TIMEOUT = 5.0


class UnhandledMessages:
    """The health check of a process: compares the streams that its service owns, at most once in `max_age` seconds.

    `handled` is called for each comparison. Only `STREAM.INFO` is requested, which a service's login may do.
    """

    def __init__(
        self,
        broker: Broker,
        handled: Callable[[], Handled],
        *,
        max_age: float = MAX_AGE,
        clock: SystemClock = SYSTEM_CLOCK,
    ) -> None:
        self._broker = broker
        self._handled = handled
        self._max_age = max_age
        self._clock = clock
        self._compared: float | None = None
        self._reason = ""
        self._note: str | None = None

    async def check(self) -> str | None:
        """Return a note about streams that have too many subjects.

        Raises `HealthWarning` if a message has a subject that nothing handles, and `Unavailable` without a connection.
        """
        now = self._clock.monotonic()
        if self._compared is None or now - self._compared >= self._max_age:
            self._reason, self._note = "", None
            try:
                self._note = await check_subjects(self._broker, self._handled())
            except HealthWarning as warning:
                self._reason = str(warning)
            self._compared = now
        if self._reason:
            raise HealthWarning(self._reason)
        return self._note


async def check_subjects(broker: Broker, handled: Handled, *, max_subjects: int = MAX_SUBJECTS) -> str | None:
    """Compare the subjects of all messages in these streams with `handled`; a stream that does not exist is left out.

    Return a note about streams that have more than `max_subjects`, which are not compared. Raises `HealthWarning` with
    a sentence for each stream that has a message on another subject, `Unavailable` without a connection, and nats-py's
    errors.
    """
    if not broker.is_connected():
        raise Unavailable(NATS)
    findings, uncompared = list[str](), list[str]()
    for stream, subjects in handled.items():
        stored = await _stored(broker, stream.name, max_subjects)
        if stored is None:
            uncompared.append(stream.name)
        elif others := {
            subject: messages
            for subject, messages in stored.items()
            if not any(covers(pattern, subject) for pattern in subjects)
        }:
            findings.append(_finding(stream, others))
    if findings:
        raise HealthWarning(" ".join(findings))
    return f"Not compared: {', '.join(uncompared)} (more than {max_subjects:,} subjects)." if uncompared else None


async def _stored(broker: Broker, stream: str, max_subjects: int) -> dict[str, int] | None:
    """Return the messages of each subject; None if there are too many subjects."""
    try:
        state = (await _info(broker, stream))["state"]
        if state.get("num_subjects", 0) > max_subjects:
            return None
        state = (await _info(broker, stream, subjects_filter=">"))["state"]
    except NotFoundError:
        return {}
    return dict(state.get("subjects") or {})


async def _info(broker: Broker, stream: str, **options: str) -> dict[str, Any]:
    # nats-py's StreamState has no number of subjects.
    subject = api_subject(broker.jetstream, f"STREAM.INFO.{stream}")
    reply = await broker.client.request(subject, json.dumps(options).encode() if options else b"", _REQUEST_TIMEOUT)
    content: dict[str, Any] = json.loads(reply.data)
    if error := content.get("error"):
        APIError.from_error(error)
    return content


def _finding(stream: Stream, subjects: Mapping[str, int]) -> str:
    ordered = sorted(subjects.items())
    shown = ", ".join(f"{subject} ({messages})" for subject, messages in ordered[:_SHOWN])
    more = f" and {len(ordered) - _SHOWN} more subjects" if len(ordered) > _SHOWN else ""
    example = ordered[0][0] if len(ordered) == 1 else "SUBJECT"
    end = (
        f"they leave the stream after {_text(stream.max_age)}."
        if stream.max_age
        else f"`nats stream purge {stream.name} --subject={example}` removes them."
    )
    return (
        f"{stream.name} has messages on {shown}{more}, which {stream.owner} neither publishes nor consumes: deploy the "
        f"version of {stream.owner} that does, or stop what publishes them; {end}"
    )


def _text(age: timedelta) -> str:
    hours = int(age.total_seconds()) // 3600
    number, unit = (age.days, "day") if age.days else (hours, "hour")
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"
