"""Positions in the event streams, and owners of events."""

import json
from typing import Any
from uuid import UUID

import pytest

from apps.gateway.events import owner_of
from apps.gateway.sse.history import Position
from contracts.payments import PaymentCreated, PaymentRejected
from contracts.users import UserCreated, UserDeleted, UserUpdated


@pytest.mark.parametrize("text", ["", "-", "1", "1-", "-1", "1-2-3", "a-b", "1-x", " 1-2", "1--2", "²-1", "+1-2"])
def test_invalid_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unpack|^.*-.*$"):
        Position.parse(text)


def test_position_survives_a_round_trip() -> None:
    assert Position.parse(str(Position(12, 345))) == Position(12, 345)


def example(event: type[Any]) -> tuple[str, bytes]:
    return event.subject, json.dumps(event.model_config["json_schema_extra"]["examples"][0]).encode()


@pytest.mark.parametrize("event", [UserCreated, UserUpdated, UserDeleted, PaymentCreated, PaymentRejected])
def test_every_event_has_an_owner(event: type[Any]) -> None:
    assert owner_of(*example(event)) == UUID("0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01")


def test_unknown_event_has_no_owner() -> None:
    assert owner_of("payment.forgotten", b"{}") is None
    assert owner_of("user.forgotten", b'{"reason": "x"}') is None
