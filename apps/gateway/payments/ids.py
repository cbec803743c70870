"""Ids of payments. Every gateway process makes them alone, and a payment that is not recorded yet is found by its id.

| bits (0 is the first) | payment without a key: UUIDv7 | payment with a key: UUIDv8 |
|---|---|---|
| 0 to 47 | milliseconds since 1970 | SHA-256 of caller and key |
| 48 to 51 | version 7 | version 8 |
| 52 to 63 | random | SHA-256 of caller and key |
| 64, 65 | variant 10 | variant 10 |
| 66 to 95 | random | SHA-256 of caller and key |
| 96 to 111 | hash of the caller | hash of the caller |
| 112 to 127 | place in the batch | SHA-256 of caller and key |

The first 96 bits are the same for all payments of a batch and name the subject of its command. The hash of the caller
is in the same place in both, and decides about the shard (`contracts/shards.py`).
"""

import hashlib
from uuid import UUID

from uuid_utils.compat import uuid7

from contracts.shards import user_hash

MAX_PLACES = 1 << 16
"""Payments that one batch has ids for."""
_CALLER_BYTES = slice(12, 14)


class BatchIds:
    """The ids of the payments in one batch, in order; the prefix is new and never used for another batch."""

    def __init__(self) -> None:
        self._prefix = uuid7().int >> 32
        self._places = 0

    @property
    def batch(self) -> str:
        """The prefix that the ids share, as it is in the subject: 24 hexadecimal digits."""
        return f"{self._prefix:024x}"

    def next(self, caller: UUID) -> UUID:
        """Return the id of the next payment of the batch. Raises `OverflowError` if the batch has none left."""
        if self._places == MAX_PLACES:
            raise OverflowError("the batch has no place left")
        place, self._places = self._places, self._places + 1
        return UUID(int=self._prefix << 32 | int.from_bytes(user_hash(caller), "big") << 16 | place)


def payment_id(caller: UUID, key: str) -> UUID:
    """Derive a UUIDv8 (RFC 9562) from the SHA-256 of caller and key; equal keys of two callers give different ids."""
    digest = bytearray(hashlib.sha256(b"mkstore/payment\0" + caller.bytes + key.encode("ascii")).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80  # version 8
    digest[8] = digest[8] & 0x3F | 0x80  # variant 10
    digest[_CALLER_BYTES] = user_hash(caller)
    return UUID(bytes=bytes(digest))
