"""A PostgreSQL connection whose statements are spans."""

from contextlib import AbstractContextManager
from typing import Any

import asyncpg

from kit.runtime.spans import NOT_RECORDED, Span, span
from kit.runtime.tracing import trace


class TracedConnection(asyncpg.Connection):
    """A connection that records each statement of a request as a span, without its values.

    `opentelemetry-instrumentation-asyncpg` would record the messages of errors, which quote values (ADR 39).
    """

    async def execute(self, query: str, *args: Any, **options: Any) -> str:
        """Run a statement."""
        with self._statement(query):
            return await super().execute(query, *args, **options)

    async def fetch(self, query: str, *args: Any, **options: Any) -> list[Any]:
        """Run a query and return its rows."""
        with self._statement(query) as statement:
            rows: list[asyncpg.Record] = await super().fetch(query, *args, **options)
            statement.add({_ROWS: len(rows)})
            return rows

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        """Run a query and return its first row."""
        with self._statement(query) as statement:
            row = await super().fetchrow(query, *args, **options)
            statement.add({_ROWS: int(row is not None)})
            return row

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        """Run a query and return a value of its first row."""
        with self._statement(query):
            return await super().fetchval(query, *args, **options)

    def _statement(self, query: str) -> AbstractContextManager[Span]:
        if not trace.get().traceparent:
            return NOT_RECORDED
        database: str = self._params.database  # type: ignore[attr-defined] # missing in the stubs
        operation = query.split(maxsplit=1)[0]
        attributes = {
            "db.system.name": "postgresql",
            "db.namespace": database,
            "db.operation.name": operation,
            "db.query.text": query,
        }
        return span(f"{operation} {database}", "CLIENT", attributes)


_ROWS = "db.response.returned_rows"
