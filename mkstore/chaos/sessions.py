"""Sessions under faults: begun, refreshed and ended; no token may be accepted after its session has ended."""

import asyncio
import time

from mkstore.chaos.http_client import Answer, Api, Outcome
from mkstore.chaos.ledger import PASSWORD, Ledger, User

REVOCATION_TIME = 2.0
"""Seconds after the answer that ended a session in which every gateway must refuse its tokens."""
_WATCH_TIME = 2.0
"""Seconds for which a token is tried."""
_WATCH_INTERVAL = 0.5


class SessionLoad:
    """Begins, refreshes and ends sessions, and tries their tokens from `revoked_within` seconds after the end on."""

    def __init__(self, api: Api, ledger: Ledger, revoked_within: float = REVOCATION_TIME) -> None:
        self._api = api
        self._ledger = ledger
        self._revoked_within = revoked_within
        self._watching: set[asyncio.Task[None]] = set()

    async def run(self, user: User) -> None:
        """Begin a second session of a signed-in user, refresh it, and end it; each step is tried once."""
        credentials = {"email": user.email, "password": PASSWORD}
        begun = await self._try("sign in", "POST", "/auth/sessions", "", credentials)
        if begun is None:
            return
        token = str(begun.json["accessToken"])
        refreshed = await self._try(
            "refresh", "POST", "/auth/sessions/refresh", "", {"refreshToken": begun.json["refreshToken"]}
        )
        ended = await self._try("sign out", "DELETE", f"/auth/sessions/{begun.json['id']}", user.token, None)
        if ended is None:
            return
        at = ended.began + ended.seconds
        tokens = [token, *([str(refreshed.json["accessToken"])] if refreshed else [])]
        for each in tokens:
            task = asyncio.create_task(self._watch(each, at))
            self._watching.add(task)
            task.add_done_callback(self._watching.discard)

    async def finish(self) -> None:
        """Wait until the tokens of every ended session were tried."""
        await asyncio.gather(*self._watching)

    async def _try(
        self, operation: str, method: str, path: str, token: str, body: dict[str, str] | None
    ) -> Answer | None:
        answer = await self._api(method, path, token=token, json=body)
        self._ledger.record(operation, answer)
        return answer if answer.outcome is Outcome.DONE else None

    async def _watch(self, token: str, ended_at: float) -> None:
        watched_from = ended_at + self._revoked_within
        await asyncio.sleep(max(0.0, watched_from - time.monotonic()))
        while True:
            answer = await self._api("GET", "/users/me", token=token)
            if answer.outcome is Outcome.DONE:
                late = answer.began - ended_at
                self._ledger.accepted_after_end.append(f"a token was accepted {late:.1f} s after its session ended")
                return
            if time.monotonic() > watched_from + _WATCH_TIME:
                return
            await asyncio.sleep(_WATCH_INTERVAL)
