"""Shards: which one has a payment, and the names of their subjects, streams and consumers."""

from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.gateway.payments.ids import BatchIds, payment_id
from contracts.consumers import PAYMENTS_CREATE_PAYMENT, PAYMENTS_OPEN_PAYER, copying, durables
from contracts.payments import CreatePayment, CreatePayments, PaymentCreated
from contracts.shards import MAX_SHARDS, ONLY, Shard, Shards, contract_subject, shard_in, shard_number
from contracts.streams import (
    KEYED_PAYMENT_COMMANDS,
    PAYMENT_COMMANDS,
    PAYMENT_EVENTS,
    STREAMS,
    USER_EVENTS,
    covers,
    is_sharded,
    stream_of,
    streams_of,
)

COUNTS = st.integers(1, MAX_SHARDS)
HASHES = st.integers(0, 0xFFFF)
SHARDS = COUNTS.flatmap(lambda count: st.integers(0, count - 1).map(lambda number: Shard(number, count)))
SUBJECTS = st.sampled_from(
    ["payments.create.key.7", "payments.create.batch.0a", "payments.get_many", "payment.created", "payment.rejected"]
)


@given(st.uuids(), st.text("abc", min_size=1), COUNTS)
def test_every_payment_belongs_to_the_shard_of_its_caller(caller: UUID, key: str, count: int) -> None:
    shards = Shards(count)
    for payment in (payment_id(caller, key), BatchIds().next(caller)):
        assert shards.of_payment(payment) == shards.of_user(caller)


@given(HASHES, HASHES, COUNTS)
def test_shards_are_ranges_of_the_hash(one: int, other: int, count: int) -> None:
    low, high = sorted((one, other))
    assert 0 <= shard_number(low, count) <= shard_number(high, count) < count


@given(COUNTS)
def test_ranges_differ_by_at_most_one_hash(count: int) -> None:
    starts = [-(-(number << 16) // count) for number in range(count + 1)]
    assert all(shard_number(start, count) == number for number, start in enumerate(starts[:-1]))
    sizes = [end - start for start, end in pairwise(starts)]
    assert max(sizes) - min(sizes) <= 1


@given(HASHES, st.integers(1, MAX_SHARDS // 2))
def test_twice_as_many_shards_split_each_in_two(hashed: int, count: int) -> None:
    assert shard_number(hashed, 2 * count) // 2 == shard_number(hashed, count)


@pytest.mark.parametrize("count", [0, -1, MAX_SHARDS + 1])
def test_number_of_shards_has_bounds(count: int) -> None:
    with pytest.raises(ValueError, match=f"1 to {MAX_SHARDS}"):
        Shards(count)


@given(SUBJECTS)
def test_only_shard_has_the_names_of_the_contracts(subject: str) -> None:
    assert ONLY.subject(subject) == subject == contract_subject(subject)
    assert shard_in(subject) == ONLY
    assert all(stream.of(ONLY) is stream for stream in STREAMS)
    assert streams_of(Shards().all) == STREAMS
    assert PAYMENTS_CREATE_PAYMENT.of(ONLY) == PAYMENTS_CREATE_PAYMENT
    assert list(copying(ONLY)) == []


@given(SUBJECTS, SHARDS)
def test_subject_of_a_shard_leads_back_to_contract_shard_and_stream(subject: str, shard: Shard) -> None:
    placed = shard.subject(subject)
    assert (contract_subject(placed), shard_in(placed)) == (subject, shard)
    if subject != "payments.get_many":
        assert stream_of(placed) == stream_of(subject).of(shard)


@given(SHARDS, SHARDS)
def test_event_for_a_payer_of_another_shard_is_stored_with_the_others(shard: Shard, payers: Shard) -> None:
    if shard.count == 1 or payers.count == 1:
        return
    subject = f"{shard.subject(PaymentCreated.subject)}.{payers.name}"
    assert stream_of(subject) == PAYMENT_EVENTS.of(shard)
    assert any(covers(each, subject) for each in PAYMENT_EVENTS.of(shard).subjects)
    assert contract_subject(subject) == PaymentCreated.subject


@given(SHARDS, SHARDS, SUBJECTS)
def test_no_stream_stores_a_message_of_another_shard(shard: Shard, other: Shard, subject: str) -> None:
    """That includes a shard with the same number among more or fewer shards."""
    if shard != other:
        streams = [stream.of(shard) for stream in STREAMS if stream.sharded]
        assert not any(covers(each, other.subject(subject)) for stream in streams for each in stream.subjects)


def test_names_of_streams_and_consumers_are_those_in_the_documentation() -> None:
    shard = Shard(0, 2)
    assert PAYMENT_COMMANDS.of(shard).name == "PAYMENT_COMMANDS_0OF2"
    assert PAYMENT_COMMANDS.of(shard).subjects == ("payments.0of2.create.batch.*",)
    assert KEYED_PAYMENT_COMMANDS.of(shard).subjects == ("payments.0of2.create.key.*",)
    assert PAYMENT_EVENTS.of(shard).subjects == ("payment.0of2.*", "payment.0of2.*.*")
    assert PAYMENTS_CREATE_PAYMENT.of(shard).name == "payments-create_payment-0of2"
    assert PAYMENTS_CREATE_PAYMENT.of(shard).subject == "payments.0of2.create.key.{paymentId}"
    assert PAYMENTS_OPEN_PAYER.of(shard).stream == USER_EVENTS
    assert PAYMENTS_OPEN_PAYER.of(shard).subject == "user.created"
    created, _ = copying(shard)
    assert created.name == "payments-copy_created-0of2-from-1of2"
    assert (created.stream.name, created.subject) == ("PAYMENT_EVENTS_1OF2", "payment.1of2.created.0of2")


@pytest.mark.parametrize("count", [1, 2, 4, MAX_SHARDS])
def test_all_streams_and_consumers_of_all_shards_differ(count: int) -> None:
    shards = Shards(count)
    streams = streams_of(shards.all)
    subjects = [subject for stream in streams for subject in stream.subjects]
    assert len({stream.name for stream in streams}) == len(streams) == len(STREAMS) + 3 * (count - 1)
    assert len(set(subjects)) == len(subjects)
    names = {(durable.stream.name, durable.name) for durable in durables(shards)}
    assert len(names) == len(durables(shards)) == 5 * count + 2 * count * (count - 1)
    assert {durable.stream for durable in durables(shards)} <= set(streams)


def test_messages_of_payments_are_sharded_and_those_of_users_are_not() -> None:
    sharded = (CreatePayment.subject, CreatePayments.subject, PaymentCreated.subject, "payments.list")
    assert all(map(is_sharded, sharded))
    assert not any(map(is_sharded, ("user.created", "users.get_many", "revocations.user.1", "dead.payment.created")))
