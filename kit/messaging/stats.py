"""Statistics of the requests that this process has replied to."""

from collections import defaultdict
from dataclasses import dataclass


@dataclass(slots=True)
class RequestStats:
    """Statistics of one request subject since the process started."""

    requests: int = 0
    errors: int = 0
    """Requests with a problem as reply, refusals included: NATS ADR-32 counts them as errors."""
    nanoseconds: int = 0
    """Total time in the handler, without the wait for a worker."""
    last_error: str = ""
    """Kind and slug of the last problem, such as `not-found:user-not-found`; no content of the request."""

    def add(self, nanoseconds: int, error: str = "") -> None:
        """Count one reply; `error` is the kind and slug of its problem, if any."""
        self.requests += 1
        self.nanoseconds += nanoseconds
        if error:
            self.errors += 1
            self.last_error = error

    @property
    def average(self) -> int:
        """Average nanoseconds per request; 0 before the first one."""
        return self.nanoseconds // self.requests if self.requests else 0


request_stats: defaultdict[str, RequestStats] = defaultdict(RequestStats)
"""Statistics by subject; bounded, because request subjects have no variable part."""
