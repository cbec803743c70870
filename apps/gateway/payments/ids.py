"""The id of a keyed payment: derived, so that the primary key is the guard and no store of keys is needed."""

import hashlib
from uuid import UUID


def payment_id(caller: UUID, key: str) -> UUID:
    """Derive the id from who asks and the key: a UUIDv8 (RFC 9562) of a SHA-256; equal keys of two callers differ."""
    digest = bytearray(hashlib.sha256(b"mkstore/payment\0" + caller.bytes + key.encode("ascii")).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80  # version 8
    digest[8] = digest[8] & 0x3F | 0x80  # variant 10
    return UUID(bytes=bytes(digest))
