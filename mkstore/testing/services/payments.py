"""The payments service in memory."""

from collections.abc import Collection
from functools import partial
from typing import Any

from apps.payments.deps import Dependencies
from apps.payments.main import create_app
from apps.payments.models import subject_of
from apps.payments.pending import PendingPayments
from apps.payments.settings import Settings
from contracts.streams import Stream
from mkstore.testing.fakes.payments import FakePayments, PaymentsData
from mkstore.testing.streams import MemoryStreams
from mkstore.testing.surroundings import ServiceInMemory, Surroundings, with_handlers

DEFAULTS = {"delivery_failure_share": 2}
"""Settings in memory: consumers do not pause when their messages fail, since a pause takes real time."""


def build(around: Surroundings) -> ServiceInMemory:
    """Return the service with an empty database."""
    settings = Settings(**{**DEFAULTS, **around.settings})
    data = PaymentsData()
    shard = settings.own_shard()
    outbox = around.outbox.of("payments", lambda event: subject_of(event, shard))
    open_payments: Any = partial(FakePayments, data, outbox)
    pending = PendingPayments(partial(last_bodies, around.streams), shard)
    deps = Dependencies(open_payments, open_payments, pending, settings.payment_limit)
    return with_handlers(create_app(settings, deps), data)


async def last_bodies(streams: MemoryStreams, stream: Stream, subjects: Collection[str]) -> dict[str, bytes]:
    """Return the body of the last message on each subject that has one."""
    found = {subject: streams.last(stream, subject) for subject in subjects}
    return {subject: stored.body for subject, stored in found.items() if stored is not None}
