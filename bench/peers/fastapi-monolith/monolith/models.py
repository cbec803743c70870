"""Tables, and what requests and responses contain; JSON in camelCase."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, EmailStr, StringConstraints
from pydantic import Field as Constraint
from pydantic.alias_generators import to_camel
from sqlalchemy import BigInteger, Column, DateTime, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel
from uuid_utils.compat import uuid7


def _now() -> datetime:
    return datetime.now(UTC)


def _time() -> Any:
    return Field(default_factory=_now, sa_type=DateTime(timezone=True))


class User(SQLModel, table=True):
    """A user."""

    __tablename__ = "users"

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    email: str = Field(unique=True)
    name: str | None = None
    role: str = "user"
    password_hash: str
    created_at: datetime = _time()
    updated_at: datetime = _time()


class Payment(SQLModel, table=True):
    """A payment; its id is a UUIDv7, so ids are ordered by time."""

    __tablename__ = "payments"
    __table_args__ = (Index("payments_by_user", "user_id", "id"),)

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    user_id: UUID
    amount: int = Field(sa_type=BigInteger)
    currency: str
    metadata_: dict[str, str] = Field(sa_column=Column("metadata", JSONB, nullable=False))
    status: str = "created"
    created_at: datetime = _time()


class Schema(BaseModel):
    """Base of requests and responses."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)


class CreateUser(Schema):
    """Sign-up."""

    email: EmailStr
    password: str = Constraint(min_length=8, max_length=128)
    name: str | None = Constraint(None, max_length=200)


class Login(Schema):
    """Sign-in."""

    email: EmailStr
    password: str = Constraint(max_length=1024)


class Token(Schema):
    """An access token."""

    access_token: str


class UserView(Schema):
    """A user without secrets."""

    id: UUID
    email: str
    name: str | None
    role: str
    created_at: datetime
    updated_at: datetime


class CreatePayment(Schema):
    """A payment to record; by default the caller is the payer."""

    user_id: UUID | None = None
    amount: int = Constraint(ge=1, le=2**53 - 1)
    currency: Annotated[str, StringConstraints(min_length=3, max_length=3)] = "USD"
    metadata: dict[str, str] = {}


class PaymentView(Schema):
    """A recorded payment."""

    id: UUID
    user_id: UUID
    amount: int
    currency: str
    metadata: dict[str, str] = Constraint(validation_alias="metadata_")
    status: str
    created_at: datetime


class PaymentPage(Schema):
    """A page of payments, newest first."""

    data: list[PaymentView]
    has_more: bool
    next_cursor: UUID | None
