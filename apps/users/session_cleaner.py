"""Deletes sessions that are over: a row has an address and a device, which are kept no longer than they are needed."""

from collections.abc import Callable
from functools import partial

from structlog.stdlib import get_logger

from apps.users.deps import SessionLimits
from apps.users.session_repository import Sessions
from kit.runtime.periodic import Periodic

log = get_logger(__name__)

CLEAN_INTERVAL = 3600.0


def session_cleaner(open_sessions: Callable[[], Sessions], limits: SessionLimits) -> Periodic:
    """Return the background work that deletes the sessions that are over, every hour."""
    return Periodic(
        partial(delete_sessions_over, open_sessions, limits), CLEAN_INTERVAL, log=log, failure="sessions not cleaned"
    )


async def delete_sessions_over(open_sessions: Callable[[], Sessions], limits: SessionLimits) -> None:
    """Delete the sessions that are over."""
    async with open_sessions() as sessions:
        await sessions.delete_over(idle=limits.idle, longest=limits.longest)
