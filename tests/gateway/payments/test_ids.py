"""Ids of payments with an Idempotency-Key."""

import hashlib
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from apps.gateway.payments.ids import payment_id

ADA = UUID("0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01")
KEYS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=255)


def test_id_of_caller_and_key_never_changes() -> None:
    assert str(payment_id(ADA, "order A-1001")) == "f53e3ac3-f255-8ed9-add2-54ad73149d65"


@given(st.uuids(), KEYS)
def test_id_is_a_uuid_v8_of_the_hash(caller: UUID, key: str) -> None:
    payment = payment_id(caller, key)
    assert (payment.version, payment.variant) == (8, RFC_4122)
    digest = hashlib.sha256(b"mkstore/payment\0" + caller.bytes + key.encode()).digest()
    free = ~((0xF << 76) | (0b11 << 62))  # without the bits of version and variant
    assert payment.int & free == int.from_bytes(digest[:16], "big") & free


@given(st.tuples(st.uuids(), KEYS), st.tuples(st.uuids(), KEYS))
def test_different_inputs_give_different_ids(one: tuple[UUID, str], other: tuple[UUID, str]) -> None:
    assert (payment_id(*one) == payment_id(*other)) is (one == other)
