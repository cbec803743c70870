"""One way to log: a line a fact on standard error, for people or as JSON, with the request's id."""

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from kit.runtime.tracing import trace

LogFormat = Literal["console", "json"]

# Without the local variables, which structlog shows by default: a password may be among them.
_tracebacks = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
)


def _request(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    if current := trace.get().request_id:
        event["request_id"] = current
    return event


def configure_logging(level: str, style: LogFormat) -> None:
    """Send what this process logs, its libraries included, to standard error from `level` on."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _request,
    ]
    render: list[Processor]
    if style == "json":
        render = [_tracebacks, structlog.processors.JSONRenderer()]
    else:
        colors = sys.stderr.isatty()
        render = [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],  # what the libraries log
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Without this structlog prints on standard output, whatever the level.
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
