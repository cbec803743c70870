"""The errors that all services share, and the one tree of refusals."""

from contracts.errors import ErrorKind, FieldError, Problem

NATS = "message broker"
"""Name of NATS in the text of refusals."""


class CannotStart(Exception):
    """The process cannot work until an operator changes something; the message says what."""


class NonRetryable(Exception):
    """A failure that every further attempt would repeat: the message is not retried."""


class HealthWarning(Exception):
    """A health check that passes although an operator should act; the message says what to do."""


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
    """Something that the work needs is unavailable; the same request may succeed later."""

    kind = ErrorKind.UNAVAILABLE
    slug = "service-unavailable"

    def __init__(self, what: str) -> None:
        super().__init__(f"The {what} is unavailable.")


class OutcomeUnknown(Refusal):
    """No reply arrived in time: the work may be done or not; a repeated request tells."""

    kind = ErrorKind.OUTCOME_UNKNOWN
    slug = "outcome-unknown"

    def __init__(self, what: str) -> None:
        super().__init__(f"The {what} did not reply in time. The work may have been done: look before you repeat it.")


class InvalidField(Refusal):
    """One field of a request is invalid for a reason that its type does not express."""

    kind = ErrorKind.INVALID
    slug = "invalid-request"

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(message)
        self.errors = (FieldError(pointer=f"/{field}", code=code, message=message),)


COMMON_REFUSALS: tuple[type[Refusal], ...] = (InvalidField, OutcomeUnknown, Unavailable)
"""The refusals that any service can reply with."""
