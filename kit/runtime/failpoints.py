"""Places where a process can be made to die, so that what survives a crash there can be shown and not hoped.

A failpoint is reached many times and costs next to nothing, until a file with its name appears in the folder that
`arm` was given: then the process that reaches it first removes the file and ends as with kill -9.
"""

import os
import signal
from pathlib import Path

BEFORE_COMMIT = "before-commit"
"""Everything of a transaction is written; nobody else can see it."""
AFTER_COMMIT = "after-commit"
"""It is committed; nobody was told."""
BEFORE_ACK = "before-ack"
"""A message is handled; its stream does not know."""
AFTER_ACK = "after-ack"
BEFORE_PUBLISH = "before-publish"
"""A command or a batch of events is about to be sent."""
HALF_A_BATCH = "half-a-batch"
"""Some of the events of an atomic batch are sent, and not the one that commits it."""
AFTER_PUBLISH = "after-publish"
"""The stream acknowledged; the sender has not acted on that: a 202 not sent, an outbox row not removed."""
AFTER_REMOVAL = "after-removal"
"""The outbox rows of events that were sent are gone."""
BEFORE_DEAD_LETTER = "before-dead-letter"
AFTER_DEAD_LETTER = "after-dead-letter"
"""A message is among the dead letters, and still in its stream."""

_armed: list[Path] = []


def arm(folder: str, service: str) -> None:
    """Watch `folder` for files called `<service>.<failpoint>`; an empty name watches nothing."""
    _armed[:] = [Path(folder, service)] if folder else []


def failpoint(point: str) -> None:
    """End this process at once, without any cleaning up, if somebody asked for that at this point."""
    for service in _armed:
        try:
            service.with_name(f"{service.name}.{point}").unlink()
        except FileNotFoundError:
            continue
        os.kill(os.getpid(), signal.SIGKILL)
