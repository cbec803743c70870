"""Lists of payments: those of one user are in one shard, those of all users are merged from all shards."""

import asyncio
from heapq import merge

from contracts.payments import ListPayments, PaymentPage, PaymentView
from contracts.shards import Shards
from kit import paging
from kit.messaging.client import RequestClient


class PaymentLists:
    """Asks the shards for their pages; a cursor is a time and an id, so it is valid in each of them."""

    def __init__(self, client: RequestClient, shards: Shards) -> None:
        self._client = client
        self._shards = shards

    async def page(self, wanted: ListPayments, *, timeout: float) -> PaymentPage:  # noqa: ASYNC109 - NATS keeps the time
        """Return a page, newest first; of all users only if every shard replies within `timeout` seconds.

        Raises what `RequestClient.request` raises.
        """
        if wanted.user_id is not None or self._shards.count == 1:
            shard = self._shards.all[0] if wanted.user_id is None else self._shards.of_user(wanted.user_id)
            return await self._client.request(wanted, timeout=timeout, shard=shard)
        requests = [self._client.request(wanted, timeout=timeout, shard=shard) for shard in self._shards.all]
        return merged(await asyncio.gather(*requests), wanted.limit)


def merged(pages: list[PaymentPage], limit: int) -> PaymentPage:
    """Return the first `limit` payments of all pages; a copy in the payer's shard is merged with its original."""
    ordered = merge(*(page.data for page in pages), key=_position, reverse=True)
    unique = {view.id: view for view in ordered}
    # Each page has its shard's newest `limit`, so what is missing in it is older than all that is shown.
    shown = list(unique.values())[:limit]
    more = len(unique) > limit or any(page.has_more for page in pages)
    return PaymentPage(data=tuple(shown), next_cursor=paging.encode(_position(shown[-1])) if more and shown else None)


def _position(view: PaymentView) -> paging.Position:
    return view.created_at, view.id
