"""How many requests this process has answered, how many of them with a problem, and how long it took."""

from collections import defaultdict
from dataclasses import dataclass


@dataclass(slots=True)
class RequestStats:
    """What became of the requests on one subject since the process started."""

    requests: int = 0
    errors: int = 0
    """Those that were answered with a problem, whichever: a refusal too is an error in the sense of NATS ADR-32."""
    nanoseconds: int = 0
    """Spent in the handler by all requests together; waiting for a worker is not part of it."""
    last_error: str = ""
    """Kind and slug of the last problem, such as `not-found:user-not-found`: nothing that a request held."""

    def add(self, nanoseconds: int, error: str = "") -> None:
        """Count one answer; `error` says which problem it was, if it was one."""
        self.requests += 1
        self.nanoseconds += nanoseconds
        if error:
            self.errors += 1
            self.last_error = error

    @property
    def average(self) -> int:
        """Nanoseconds of one request, as a whole number; 0 before the first."""
        return self.nanoseconds // self.requests if self.requests else 0


request_stats: defaultdict[str, RequestStats] = defaultdict(RequestStats)
"""By subject; there are as many as requests in the contracts, since a request's subject has no part that varies."""
