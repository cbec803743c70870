"""Ids of payments: their layout, and that no two are equal."""

import hashlib
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.gateway.payments.ids import MAX_PLACES, BatchIds, payment_id
from contracts.payments import CreatePayments
from contracts.shards import user_hash

ADA = UUID("0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01")
KEYS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255)


def bits(payment: UUID, first: int, last: int) -> int:
    """Return the bits of an id from `first` to `last`; 0 is the most significant."""
    return payment.int >> (127 - last) & ((1 << (last - first + 1)) - 1)


def test_id_of_caller_and_key_never_changes() -> None:
    assert str(payment_id(ADA, "order A-1001")) == "f53e3ac3-f255-8ed9-add2-54ad4f9f9d65"


@given(st.uuids(), KEYS)
def test_id_is_a_uuid_v8_of_the_hash(caller: UUID, key: str) -> None:
    payment = payment_id(caller, key)
    assert (payment.version, payment.variant) == (8, RFC_4122)
    digest = hashlib.sha256(b"mkstore/payment\0" + caller.bytes + key.encode()).digest()
    free = ~((0xF << 76) | (0b11 << 62) | (0xFFFF << 16))  # without version, variant and hash of the caller
    assert payment.int & free == int.from_bytes(digest[:16], "big") & free


@given(st.tuples(st.uuids(), KEYS), st.tuples(st.uuids(), KEYS))
def test_different_inputs_give_different_ids(one: tuple[UUID, str], other: tuple[UUID, str]) -> None:
    assert (payment_id(*one) == payment_id(*other)) is (one == other)


@given(st.uuids(), KEYS)
def test_hash_of_the_caller_is_in_one_place_in_every_id(caller: UUID, key: str) -> None:
    expected = int.from_bytes(hashlib.sha256(b"mkstore/caller\0" + caller.bytes).digest()[:2], "big")
    assert int.from_bytes(user_hash(caller), "big") == expected
    for payment in (payment_id(caller, key), BatchIds().next(caller)):
        assert bits(payment, 96, 111) == expected


@given(st.lists(st.uuids(), min_size=1, max_size=50))
def test_ids_of_a_batch_differ_in_their_last_32_bits_only(callers: list[UUID]) -> None:
    ids = BatchIds()
    payments = [ids.next(caller) for caller in callers]
    assert [bits(payment, 112, 127) for payment in payments] == list(range(len(callers)))
    for payment in payments:
        assert (payment.version, payment.variant) == (7, RFC_4122)
        assert f"{bits(payment, 0, 95):024x}" == ids.batch
        assert CreatePayments.address_with(payment) == f"payments.create.batch.{ids.batch}"


def test_every_batch_has_a_new_prefix_and_later_ones_are_greater() -> None:
    prefixes = [BatchIds().batch for _ in range(10_000)]
    assert len(set(prefixes)) == len(prefixes)
    assert prefixes == sorted(prefixes)


def test_batch_has_65536_places() -> None:
    ids = BatchIds()
    assert len({ids.next(ADA) for _ in range(MAX_PLACES)}) == MAX_PLACES == 65536
    with pytest.raises(OverflowError):
        ids.next(ADA)
