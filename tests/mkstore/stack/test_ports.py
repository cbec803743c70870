"""Free ports."""

from mkstore.stack import ports


def test_no_port_is_returned_twice() -> None:
    first = ports.free_port()
    drawn = iter([first, first, first + 1, first + 2, first + 3])
    assert ports.free_port(lambda *_: next(drawn)) > first
