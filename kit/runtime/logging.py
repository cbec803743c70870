"""Logging to standard error, one line per event, for people or as JSON, with the ids of the request and its trace."""

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from kit.runtime.tracing import trace

LogFormat = Literal["console", "json"]

# Without local variables, which structlog shows by default: one may hold a password.
_tracebacks = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
)


def _add_request(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    current = trace.get()
    if current.request_id:
        event["request_id"] = current.request_id
    if current.traceparent:
        event["trace_id"] = current.trace_id
    return event


def _drop_colours(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # uvicorn's message once more, with escape sequences
    return event


def _take_over_uvicorn() -> None:
    """Let uvicorn's loggers write in this format, also after its `Config` has configured them from its dictionary.

    `faststream run` has no usable option for the configuration of uvicorn's logging.
    """
    from uvicorn.config import LOGGING_CONFIG  # noqa: PLC0415 - only where it is imported already

    for name, logger in LOGGING_CONFIG["loggers"].items():
        logger.pop("handlers", None)
        logger["propagate"] = True
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def configure_logging(level: str, style: LogFormat) -> None:
    """Log events of at least `level`, those of libraries included, to standard error."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_request,
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
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), _drop_colours, *shared],  # for the events of libraries
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    if "uvicorn" in sys.modules:
        _take_over_uvicorn()
    # Without this, structlog prints every level to standard output.
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
