"""What the kit's own statements need of a database connection, without the driver."""

from collections.abc import Sequence
from typing import Any, Protocol


class SqlConnection(Protocol):
    """A connection that runs SQL, such as asyncpg's."""

    async def execute(self, query: str, *args: Any) -> Any:
        """Run a statement."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]:
        """Run a query and return its rows."""
