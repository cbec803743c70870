"""The events of each client are compared with the stored ones."""

import json
from asyncio import Transport

from mkstore.bench.load.target import Account
from mkstore.bench.scenarios.event_streams import compare
from mkstore.bench.scenarios.stream_client import EventClient

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1a\r\nid: 0-0\nretry: 1000\n\n\r\n"


class Connection(Transport):
    """A connection that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)


def client(user: str, *payments: str) -> EventClient:
    """Return a client that received an event for each of these payments, split at an unfortunate place."""
    one = EventClient(Account(user, "", "token"), "store")
    one.data_received(HEAD)
    for payment in payments:
        body = {"payment": {"id": payment, "userId": user, "createdAt": "2026-01-31T12:00:00Z"}}
        block = f"id: 0-1\nevent: payment.created\ndata: {json.dumps(body)}\n\n".encode()
        one.data_received(b"f0\r\n" + block[:50])
        one.data_received(block[50:] + b"\r\n")
    return one


def test_client_asks_for_events_with_its_token() -> None:
    one, connection = client("u1"), Connection()
    one.connection_made(connection)
    assert connection.written.startswith(b"GET /events HTTP/1.1\r\nHost: store\r\nAuthorization: Bearer token\r\n")


def test_own_events_in_order_are_right() -> None:
    wrong, delays = compare(
        [client("u1", "p1", "p3"), client("u2", "p2"), client("u3")], {"u1": ["p1", "p3"], "u2": ["p2"]}
    )
    assert not wrong
    assert len(delays) == 3


def test_missing_repeated_foreign_and_swapped_events_are_found() -> None:
    clients = [client("u1", "p1"), client("u2", "p3", "p3"), client("u3", "p4"), client("u4", "p6", "p5")]
    wrong, _ = compare(clients, {"u1": ["p1", "p2"], "u2": ["p3"], "u4": ["p5", "p6"]})
    assert [sentence.split()[4] for sentence in wrong] == ["u1", "u2", "u3", "u4"]
    assert wrong[3].endswith("in another order")


def test_a_refused_stream_shows_its_status() -> None:
    one = EventClient(Account("u1", "", "token"), "store")
    one.data_received(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
    ((sentence,), _) = compare([one], {"u1": ["p1"]})
    assert "HTTP/1.1 503 Service Unavailable" in sentence
