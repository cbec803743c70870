"""Ids of payments with an Idempotency-Key: derived, so that the primary key deduplicates without a store of keys."""

import hashlib
from uuid import UUID


def payment_id(caller: UUID, key: str) -> UUID:
    """Derive a UUIDv8 (RFC 9562) from the SHA-256 of caller and key; equal keys of two callers give different ids."""
    digest = bytearray(hashlib.sha256(b"mkstore/payment\0" + caller.bytes + key.encode("ascii")).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80  # version 8
    digest[8] = digest[8] & 0x3F | 0x80  # variant 10
    return UUID(bytes=bytes(digest))
