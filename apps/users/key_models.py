"""Signing keys: the table and the rules on it."""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Column, DateTime, Enum, Index, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field

from apps.users.models import Table
from contracts.keys import JsonWebKey, KeyState, SigningKeyView

_STATE = Enum(KeyState, values_callable=list, native_enum=False, length=20)


def _now() -> datetime:
    return datetime.now(UTC)


def _time(*, nullable: bool = True) -> Any:
    return Column(DateTime(timezone=True), nullable=nullable)


class KeyTimes(NamedTuple):
    """How long a signing key is published before and after it signs."""

    cache: timedelta
    """Time for which a verifier may cache the published keys: so long a key is published before it signs."""
    retirement: timedelta
    """Time after which no token of a retired key is valid."""


class SigningKey(Table, table=True):
    """A key that signs tokens, with its private key encrypted: first next, then active, then retired."""

    __tablename__ = "signing_keys"
    __table_args__ = (
        # Of several replicas that create the first key, or the next one, at the same time, one succeeds.
        Index("signing_keys_one_of_each", "state", unique=True, postgresql_where=text("state <> 'retired'")),
    )

    kid: str = Field(sa_column=Column(Text, primary_key=True))
    sealed: bytes = Field(repr=False, sa_column=Column(LargeBinary, nullable=False))
    public: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    state: KeyState = Field(default=KeyState.NEXT, sa_column=Column(_STATE, nullable=False))
    created_at: datetime = Field(default_factory=_now, sa_column=_time(nullable=False))
    published_at: datetime | None = Field(default=None, sa_column=_time())
    """When the stream first acknowledged it."""
    signs_from: datetime | None = Field(default=None, sa_column=_time())
    retired_at: datetime | None = Field(default=None, sa_column=_time())

    def view(self) -> JsonWebKey:
        """Return the public key."""
        return JsonWebKey.model_validate(self.public)

    def may_sign_from(self, times: KeyTimes) -> datetime | None:
        """Return the time from which it signs; None if it is not published yet."""
        if self.signs_from is not None or self.published_at is None:
            return self.signs_from
        return self.published_at + times.cache

    def is_due(self, now: datetime, times: KeyTimes) -> bool:
        """Return whether it is the next key and every verifier that respects the cache time knows it."""
        may_sign_from = self.may_sign_from(times)
        return self.state is KeyState.NEXT and may_sign_from is not None and may_sign_from <= now

    def leaves_at(self, times: KeyTimes) -> datetime | None:
        """Return the time from which it is not published; None before it is retired."""
        return None if self.retired_at is None else self.retired_at + times.retirement

    def is_published(self, now: datetime, times: KeyTimes) -> bool:
        """Return whether it belongs to the published keys."""
        leaves_at = self.leaves_at(times)
        return leaves_at is None or leaves_at > now

    def describe(self, times: KeyTimes) -> SigningKeyView:
        """Return the key as an operator sees it."""
        return SigningKeyView(
            kid=self.kid,
            state=self.state,
            created_at=self.created_at,
            signs_from=self.may_sign_from(times),
            leaves_at=self.leaves_at(times),
        )
