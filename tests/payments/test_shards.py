"""A shard of the payments service: its settings, its database, and copies of payments from other shards."""

from typing import Any, Self, cast
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from apps.gateway.payments.ids import BatchIds
from apps.payments.repository import Payments
from apps.payments.settings import Settings
from apps.payments.shards import check_shard
from contracts.consumers import copying
from contracts.headers import MESSAGE_ID
from contracts.payments import PaymentCreated, PaymentView
from contracts.shards import Shard, Shards
from mkstore.testing import in_memory

TWO = Shards(2)


def user_of(shard: Shard) -> UUID:
    """Return a user whose payments belong to a shard."""
    return next(user for user in iter(uuid4, None) if TWO.of_user(user) == shard)


class NewestIds:
    """A repository with the ids and the payers of its newest payments."""

    def __init__(self, *ids: tuple[UUID, UUID]) -> None:
        self._ids = ids

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def last_ids(self, limit: int) -> list[tuple[UUID, UUID]]:
        return list(self._ids[:limit])


def payment_of(caller: UUID) -> UUID:
    """Return the id of a payment of a caller."""
    return BatchIds().next(caller)


async def test_database_of_another_shard_makes_the_process_not_ready() -> None:
    own, other = TWO.all
    mine, yours = user_of(own), user_of(other)
    right = NewestIds((payment_of(mine), mine), (payment_of(mine), yours), (payment_of(yours), mine))
    await check_shard(lambda: cast("Payments", right), own)
    await check_shard(lambda: cast("Payments", NewestIds()), own)
    wrong = NewestIds((payment_of(mine), mine), (payment_of(yours), yours))
    with pytest.raises(RuntimeError, match="payments of another shard than 0of2: correct SHARD, SHARDS or DB_DATABASE"):
        await check_shard(lambda: cast("Payments", wrong), own)


@pytest.mark.parametrize(
    "given", [{"shard": 1}, {"shard": 2, "shards": 2}, {"shard": -1}, {"shards": 0}, {"shards": 17}]
)
def test_impossible_shard_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"SHARD must be below SHARDS|greater than or equal|less than or equal"):
        Settings(**given)


async def test_repeated_event_of_another_shard_makes_one_copy() -> None:
    own, other = TWO.all
    payer = user_of(own)
    view = PaymentView.model_validate(
        PaymentCreated.model_config["json_schema_extra"]["examples"][0]["payment"]  # type: ignore[index,call-overload]
    ).model_copy(update={"id": payment_of(user_of(other)), "user_id": payer})
    created = next(each for each in copying(own) if each.message is PaymentCreated)
    async with in_memory(services=["payments"], shards=2) as store:
        for number in range(2):
            body = PaymentCreated(payment=view).model_dump_json().encode()
            await store.publish_raw(created.subject, body, {MESSAGE_ID: str(number)})
        assert len(await store.consumed(created, 2)) == 2
        data = store.services[f"payments-{own.name}"].data
        assert data.rows == {view.id: view}
        assert data.events == []
        assert not store.services[f"payments-{other.name}"].data.rows
