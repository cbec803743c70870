"""A leader whose session the server ended."""

import random

import asyncpg
import pytest

from kit.outbox.leader import lead
from tests.support.held_connections import held_connections
from tests.support.outbox_events import OutboxSource


async def test_session_ended_by_the_server_raises_an_interface_error(source: OutboxSource) -> None:
    """The error message of the server has arrived, the end of its connection has not."""
    async with held_connections(source.address.set(drivername="postgresql")) as proxy:
        dsn = proxy.address.render_as_string(hide_password=False)
        async with lead(dsn, random.getrandbits(31), lease=1) as session:
            await proxy.wait_closed()  # idle for longer than the lease
            with pytest.raises(asyncpg.InterfaceError):
                await session.execute("SELECT 1")
