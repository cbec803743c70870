"""A leader whose session the server ended."""

import random

import asyncpg
import pytest

from kit.outbox.leader import lead
from tests.support.held_connections import held_connections
from tests.support.outbox_events import LeaderLocks, OutboxSource
from tests.support.polling import eventually


async def test_session_ended_by_the_server_raises_an_interface_error(source: OutboxSource) -> None:
    """The error message of the server has arrived, the end of its connection has not."""
    leaders = await LeaderLocks.of(source)

    async def has_ended() -> bool:
        return not await leaders.session()

    async with (
        held_connections(source.address.set(drivername="postgresql")) as address,
        lead(address.render_as_string(hide_password=False), random.getrandbits(31), lease=0.2) as session,
    ):
        await eventually(has_ended)  # idle for longer than the lease
        with pytest.raises(asyncpg.InterfaceError):
            await session.execute("SELECT 1")
    await leaders.connection.close()
