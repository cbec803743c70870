"""Failpoints: places where a test can crash a process, to show what survives.

A failpoint costs almost nothing until a file with its name appears in the folder of `arm`. The first process that
then reaches the failpoint deletes the file and kills itself with SIGKILL. The file of a poisoned command or event
stays: every process that handles it dies.
"""

import os
import signal
from collections.abc import Iterable
from pathlib import Path

BEFORE_COMMIT = "before-commit"
"""All rows of a transaction are written but not yet visible to others."""
AFTER_COMMIT = "after-commit"
"""The transaction is committed; no reply or acknowledgement is sent yet."""
BEFORE_ACK = "before-ack"
"""A message is handled but not acknowledged."""
HALF_HANDLED = "half-handled"
"""Some commands of a batch are handled, others are not."""
AFTER_ACK = "after-ack"
"""A message is acknowledged."""
BEFORE_PUBLISH = "before-publish"
"""A command or a batch of events is about to be published."""
HALF_A_BATCH = "half-a-batch"
"""Some messages of an atomic batch are published, but not the one that commits the batch."""
AFTER_PUBLISH = "after-publish"
"""The stream acknowledged, but the publisher has not acted on that: no 202 is sent, no outbox row deleted."""
AFTER_BATCH = "after-batch"
"""The stream acknowledged one message with several payments; no 202 is sent yet."""
AFTER_ATOMIC_BATCH = "after-atomic-batch"
"""The stream acknowledged an atomic batch of several messages; no 202 is sent yet."""
AFTER_REMOVAL = "after-removal"
"""The outbox rows of published events are deleted."""
BEFORE_DEAD_LETTER = "before-dead-letter"
"""A message is about to be dead-lettered."""
AFTER_DEAD_LETTER = "after-dead-letter"
"""A message is in the dead-letter queue and still in its stream."""
BEFORE_PURGE = "before-purge"
"""Acknowledged messages are about to be purged."""
AFTER_PURGE = "after-purge"
"""Acknowledged messages are purged."""

POISON = "poison"
"""A command or event with this id is about to be handled: `poison.<id>`."""

_armed: list[Path] = []


def arm(folder: str, service: str) -> None:
    """Watch `folder` for files named `<service>.<failpoint>`; an empty `folder` turns failpoints off."""
    _armed[:] = [Path(folder, service)] if folder else []


def failpoint(point: str) -> None:
    """Kill this process, without any cleanup, if the file for `point` exists."""
    for service in _armed:
        try:
            service.with_name(f"{service.name}.{point}").unlink()
        except FileNotFoundError:
            continue
        os.kill(os.getpid(), signal.SIGKILL)


def poison(ids: Iterable[object]) -> None:
    """Kill this process if the file for one of these commands or events exists."""
    for service in _armed:
        if any(service.with_name(f"{service.name}.{POISON}.{each}").exists() for each in ids):
            os.kill(os.getpid(), signal.SIGKILL)
