"""Streams for one test: the name is unique, because tests share a nats-server."""

import secrets
from datetime import timedelta

from contracts.streams import Stream


def new_stream(*, work_queue: bool = False, duplicate_window: timedelta = timedelta(minutes=2)) -> Stream:
    """Return a stream that stores all subjects below its name in lower case."""
    name = f"t{secrets.token_hex(4)}"
    return Stream(
        name=name.upper(),
        subjects=(f"{name}.>",),
        retention="workqueue" if work_queue else "limits",
        discard="new" if work_queue else "old",
        duplicate_window=duplicate_window,
        republish=not work_queue,
    )


def subject_in(stream: Stream, rest: str) -> str:
    """Return a subject that the stream stores."""
    return f"{stream.name.lower()}.{rest}"
