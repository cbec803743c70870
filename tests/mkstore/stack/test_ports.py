"""Free ports."""

import socket
import subprocess
import sys

from mkstore.stack import ports


def test_no_port_is_returned_twice() -> None:
    first = ports.free_port()
    drawn = iter([first, first, first + 1, first + 2, first + 3])
    assert ports.free_port(lambda *_: next(drawn)) > first


def test_no_other_process_gets_a_port_before_its_server_listens() -> None:
    port = ports.free_port()
    program = f"from mkstore.stack import ports; print(ports.free_port(lambda *_: {port}))"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "no free port" in other.stderr
    with socket.create_server((ports.LOOPBACK, port)), socket.create_connection((ports.LOOPBACK, port), 5):
        pass


def test_obstacle_is_the_error_of_the_system() -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as taken:
        assert isinstance(ports.obstacle(taken.getsockname()[1]), OSError)
    assert ports.obstacle(ports.free_port()) is None
