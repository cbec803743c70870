"""Tests of a whole store in memory: all services, HTTP, streams, retries, dead letters, and a clock that tests move.

See docs/testing.md. Only tests import this package.
"""

from mkstore.testing.clock import MovableClock
from mkstore.testing.event_stream import EventStream, ReceivedEvent
from mkstore.testing.records import Consumption
from mkstore.testing.signed_in import PASSWORD, SignedInUser, new_email
from mkstore.testing.store import MemoryStore, ServiceNotFound, StoreRuns, in_memory
from mkstore.testing.surroundings import BuildService, ServiceInMemory, Surroundings, with_handlers
from mkstore.testing.transactions import MemoryTransaction

__all__ = [
    "PASSWORD",
    "BuildService",
    "Consumption",
    "EventStream",
    "MemoryStore",
    "MemoryTransaction",
    "MovableClock",
    "ReceivedEvent",
    "ServiceInMemory",
    "ServiceNotFound",
    "SignedInUser",
    "StoreRuns",
    "Surroundings",
    "in_memory",
    "new_email",
    "with_handlers",
]
