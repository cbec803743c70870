"""Polling with a deadline, as `mkstore.testing` has it."""

from mkstore.testing.polling import eventually

__all__ = ["eventually"]
