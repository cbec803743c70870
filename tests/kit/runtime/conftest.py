"""The log of a process, configured by a test."""

import logging
from collections.abc import Callable, Iterator

import pytest
import structlog

from kit.runtime.logging import LogFormat, configure_logging


@pytest.fixture
def configured() -> Iterator[Callable[[LogFormat, str], None]]:
    """Return a function that configures the log; restore it at the end."""
    root = logging.getLogger()
    handlers, level, config = root.handlers[:], root.level, structlog.get_config()
    yield lambda style, at: configure_logging(at, style)
    root.handlers[:], root.level = handlers, level
    structlog.configure(**config)
