"""Free ports."""

import random

import pytest

from mkstore.stack import ports


def test_no_port_is_returned_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ports.free_port()
    drawn = iter([first, first, first + 1, first + 2, first + 3])
    monkeypatch.setattr(random, "randrange", lambda *_: next(drawn))
    assert ports.free_port() > first
