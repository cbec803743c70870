"""The errors that all services share, and the one tree of refusals."""

from contracts.errors import ErrorKind, FieldError, Problem

NATS = "message broker"
"""What NATS is called where a refusal names it."""


class CannotStart(Exception):
    """What keeps a process from working until somebody has changed something; the sentence says what."""


class NonRetryable(Exception):
    """What fails in the same way however often it is tried; a message that does is not tried again."""


class HealthWarning(Exception):
    """Something works, and somebody should look at it all the same; the sentence says at what, and what to do."""


class Refusal(Exception):
    """A request that is refused, with a reason for the caller; each subclass sets `kind` and `slug`."""

    kind: ErrorKind
    slug: str
    errors: tuple[FieldError, ...] = ()

    def problem(self) -> Problem:
        """Return this refusal as the message that is sent to the caller."""
        return Problem(kind=self.kind, slug=self.slug, detail=str(self), errors=self.errors)


class RemoteProblem(Refusal):
    """A refusal that another service replied with; its kind, slug and errors are those of the received problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.kind, self.slug, self.errors = problem.kind, problem.slug, problem.errors


class Unavailable(Refusal):
    """Something that the work needs is away; the same request may well succeed later."""

    kind = ErrorKind.UNAVAILABLE
    slug = "service-unavailable"

    def __init__(self, what: str) -> None:
        super().__init__(f"The {what} is away.")
        self.what = what


class OutcomeUnknown(Refusal):
    """The answer was lost on its way: the work may be done or not, and asking again tells."""

    kind = ErrorKind.OUTCOME_UNKNOWN
    slug = "outcome-unknown"

    def __init__(self, what: str) -> None:
        super().__init__(f"The {what} did not answer in time; it may or may not have done the work.")
        self.what = what


class InvalidField(Refusal):
    """One field of a request cannot be taken, for a reason that its type alone does not tell."""

    kind = ErrorKind.INVALID
    slug = "invalid-request"

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(message)
        self.errors = (FieldError(pointer=f"/{field}", code=code, message=message),)
