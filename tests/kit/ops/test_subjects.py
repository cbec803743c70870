"""Messages on subjects that nothing handles: the health check of a service."""

import pytest

from contracts.streams import DEAD_LETTERS, Stream
from kit.errors import HealthWarning, Unavailable
from kit.messaging.broker import Broker
from kit.messaging.streams import provision
from kit.ops.subjects import UnhandledMessages, check_subjects
from kit.runtime.clock import SystemClock
from tests.kit.conftest import NewBroker
from tests.support.streams import new_stream, subject_in


class MovableClock(SystemClock):
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


async def stored(broker: Broker, *subjects: str, **changes: object) -> Stream:
    """Return a new stream that has a message on each of these subjects."""
    stream = new_stream(work_queue=True).model_copy(update={"owner": "shop", **changes})
    await provision(broker.jetstream, [stream])
    for subject in subjects:
        await broker.jetstream.publish(subject_in(stream, subject), b"x")
    return stream


async def test_wildcards_cover_the_subjects_of_messages(broker: Broker) -> None:
    stream = await stored(broker, "pay.1", "pay.2", "cancel")
    handled = {stream: [subject_in(stream, "pay.*"), subject_in(stream, "cancel")]}
    assert await check_subjects(broker, handled) is None


async def test_message_on_another_subject_is_a_warning(broker: Broker) -> None:
    stream = await stored(broker, "pay.1", "old.pay", "old.pay", "pay.now.1")
    old, now = subject_in(stream, "old.pay"), subject_in(stream, "pay.now.1")
    with pytest.raises(HealthWarning) as raised:
        await check_subjects(broker, {stream: [subject_in(stream, "pay.*")]})
    assert str(raised.value) == (
        f"{stream.name} has messages on {old} (2), {now} (1), which shop neither publishes nor consumes: deploy the "
        f"version of shop that does, or stop what publishes them; `nats stream purge {stream.name} --subject=SUBJECT` "
        "removes them."
    )
    await broker.jetstream.purge_stream(stream.name, subject=now)
    with pytest.raises(HealthWarning, match=f"--subject={old}` removes them"):
        await check_subjects(broker, {stream: [subject_in(stream, "pay.*")]})


async def test_many_subjects_are_counted(broker: Broker) -> None:
    stream = await stored(broker, *(f"old.{number}" for number in range(7)))
    with pytest.raises(HealthWarning, match=r"old\.4 \(1\) and 2 more subjects, which shop neither"):
        await check_subjects(broker, {stream: []})


async def test_stream_with_too_many_subjects_is_named_and_not_compared(broker: Broker) -> None:
    many, few = await stored(broker, "a", "b", "c"), await stored(broker, "a", "b")
    handled = {many: [], few: [subject_in(few, "*")]}
    assert await check_subjects(broker, handled, max_subjects=2) == f"Not compared: {many.name} (more than 2 subjects)."
    with pytest.raises(HealthWarning, match=few.name):  # the other streams still are
        await check_subjects(broker, {many: [], few: []}, max_subjects=2)


async def test_missing_stream_is_left_to_its_check(broker: Broker) -> None:
    assert await check_subjects(broker, {new_stream(): []}) is None


async def test_disconnected_broker_is_unavailable(new_broker: NewBroker) -> None:
    with pytest.raises(Unavailable):
        await check_subjects(new_broker("nats://127.0.0.1:1"), {DEAD_LETTERS: []})


async def test_process_compares_once_a_minute(broker: Broker) -> None:
    stream, clock = await stored(broker, "pay.1"), MovableClock()
    subjects = [subject_in(stream, "pay.*")]
    comparisons: list[float] = []

    def handled() -> dict[Stream, list[str]]:
        comparisons.append(clock.seconds)
        return {stream: subjects}

    health = UnhandledMessages(broker, handled, clock=clock)
    assert await health.check() is None
    await broker.jetstream.publish(subject_in(stream, "old"), b"x")
    clock.seconds = 59.9
    assert await health.check() is None
    for clock.seconds in (60, 61):
        with pytest.raises(HealthWarning, match="old"):
            await health.check()
    subjects.append(subject_in(stream, "old"))
    clock.seconds = 120
    assert await health.check() is None
    assert comparisons == [0, 60, 120]
