"""One way to log: a line a fact on standard error, for people or as JSON, with the request's id."""

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from kit.telemetry import trace

LogFormat = Literal["console", "json"]


def _request(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    if current := trace.get().request_id:
        event["request_id"] = current
    return event


def configure_logging(level: str, style: LogFormat) -> None:
    """Send what this process logs, its libraries included, to standard error from `level` on."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _request,
    ]
    render: list[Processor]
    if style == "json":
        render = [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    else:
        render = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
