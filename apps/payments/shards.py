"""The check that a database belongs to the shard of its process."""

from collections.abc import Callable

from apps.payments.models import belongs_to
from apps.payments.repository import Payments
from contracts.shards import Shard

_LOOKED_AT = 100


async def check_shard(open_payments: Callable[[], Payments], shard: Shard) -> None:
    """Raise `RuntimeError` if the newest payments of the database are not those of the shard."""
    async with open_payments() as payments:
        newest = await payments.last_ids(_LOOKED_AT)
    if not all(belongs_to(shard, payment, payer) for payment, payer in newest):
        raise RuntimeError(
            f"the database has payments of another shard than {shard.name}: correct SHARD, SHARDS or DB_DATABASE"
        )
