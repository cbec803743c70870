"""Deletes what is over: sessions, which have an address and a device, and the keys that users were created with."""

from collections.abc import Callable
from functools import partial

from structlog.stdlib import get_logger

from apps.users.deps import SessionLimits
from apps.users.models import CREATION_KEY_LIFETIME
from apps.users.repository import Users
from kit.runtime.periodic import Periodic

log = get_logger(__name__)

CLEAN_INTERVAL = 3600.0


def cleaner(open_users: Callable[[], Users], limits: SessionLimits) -> Periodic:
    """Return the background work that deletes what is over, every hour."""
    return Periodic(partial(delete_over, open_users, limits), CLEAN_INTERVAL, log=log, failure="sessions not cleaned")


async def delete_over(open_users: Callable[[], Users], limits: SessionLimits) -> None:
    """Delete the sessions that are over, and the creation keys that are older than a day."""
    async with open_users() as users:
        await users.delete_over(idle=limits.idle, longest=limits.longest)
        await users.forget_old_creation_keys(CREATION_KEY_LIFETIME)
