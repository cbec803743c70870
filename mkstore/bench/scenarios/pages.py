"""The scenario of pages: what a page of payments costs in a small and in a large table, at the begin and far behind."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mkstore.bench.load.calls import Call
from mkstore.bench.load.measure import Turn, under_load
from mkstore.bench.load.tables import column_of, copy_row
from mkstore.bench.load.target import Target
from mkstore.bench.samples import Sample
from mkstore.bench.scenarios.reads import PreparationFailed, send_all
from mkstore.bench.scenarios.recording import empty_payments, payments_table, wait_until_drained
from mkstore.chaos.http_client import Api

_PAGE, _STRIDE = 20, 100
"""Payments of a page, and of the pages that are read on the way to the last one."""
_FAR = 1000


@dataclass(frozen=True)
class Pages:
    """The requests for the pages, by variant, with the table that each needs."""

    calls: Mapping[str, tuple[str, Sequence[Call]]]


@dataclass(frozen=True)
class PageScenario:
    """`GET /payments` by callers who see all payments.

    The rows are inserted by SQL into tables that are copies of the contender's own, and take its name in turn.
    """

    small: int = 1000
    large: int = 1_000_000
    name: str = "payments-page"
    description: str = "`GET /payments?limit=20` of all payments, by ten admins: first and last page, small and large."

    def concurrencies(self, wanted: Sequence[int]) -> Sequence[int]:
        """Return the second lowest of those `wanted`: neither one connection nor a crowd."""
        return sorted(wanted)[:2][-1:]

    async def prepare(self, target: Target, turn: Turn) -> Pages:
        """Fill the tables, once, and find the last pages."""
        small, large = await self._fill(target, turn)
        calls = {}
        for table, rows in ((small, self.small), (large, self.large)):
            last = min(_FAR, rows // _PAGE)
            await _swap(target, table)
            try:
                cursor = await _cursor(target, last)
            finally:
                await _swap(target, table)
            calls[f"{rows:,} rows, page 1"] = (table, [target.list_payments(one, _PAGE) for one in target.admins])
            far = [target.list_payments(one, _PAGE, cursor) for one in target.admins]
            calls[f"{rows:,} rows, page {last:,}"] = (table, far)
        return Pages(calls)

    async def measure(self, target: Target, turn: Turn, prepared: Pages) -> list[Sample]:
        """Read each page for a part of the turn."""
        samples = []
        part = replace(turn, seconds=max(1, turn.seconds // 2))
        for variant, (table, calls) in prepared.calls.items():
            await _swap(target, table)
            try:
                samples.append((await under_load(target, part, calls, variant=variant)).sample)
            finally:
                await _swap(target, table)
        return samples

    async def _fill(self, target: Target, turn: Turn) -> tuple[str, str]:
        names = ("payments_small", "payments_large")
        async with target.payments_database() as connection:
            if await connection.fetchval("SELECT to_regclass($1)", names[0]):
                return names
        await empty_payments(target)
        await send_all(target, [target.pay(target.users[0], turn.random)])
        await wait_until_drained(target, 1)
        async with target.payments_database() as connection:
            table = await payments_table(connection)
            created = (await column_of(connection, table, "created_at", "createdAt")).strip('"')
            for name, rows in zip(names, (self.small, self.large), strict=True):
                await connection.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL)")
                changed = {created: "now() - n * interval '1 second'"}
                await copy_row(connection, table, rows, changed, into=name)
                await connection.execute(f"ANALYZE {name}")
        return names


async def _swap(target: Target, name: str) -> None:
    """Exchange the names of the contender's table and of another one; a second call exchanges them again."""
    async with target.payments_database() as connection, connection.transaction():
        table = await payments_table(connection)
        await connection.execute(f"ALTER TABLE {table} RENAME TO payments_swapped")
        await connection.execute(f"ALTER TABLE {name} RENAME TO {table}")
        await connection.execute(f"ALTER TABLE payments_swapped RENAME TO {name}")


async def _cursor(target: Target, page: int) -> str:
    """Return the cursor of a page, found by reading the ones before it."""
    cursor = ""
    steps = (page - 1) * _PAGE
    async with Api(target.url) as api:
        while steps:
            limit = _STRIDE if steps >= _STRIDE else _PAGE
            call = target.list_payments(target.admins[0], limit, cursor)
            answer = await call.send(api)
            if fault := call.fault(answer):
                raise PreparationFailed(f"{target.name}: {fault}")
            cursor = answer.json.get("nextCursor") or ""
            if not cursor:
                raise PreparationFailed(f"{target.name}: no page {page}: {answer}")
            steps -= limit
    return cursor
