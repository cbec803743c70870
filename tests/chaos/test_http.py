"""The classification of responses, on which the verdict depends."""

import asyncio
from collections.abc import Callable

import pytest

from mkstore.chaos.http_client import Api, Outcome
from mkstore.stack import ports

Reply = Callable[[asyncio.StreamWriter], None]


async def answer_to(reply: Reply) -> tuple[Outcome, int, str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        reply(writer)
        writer.close()

    server = await asyncio.start_server(serve, ports.LOOPBACK, 0)
    async with Api(f"http://{ports.LOOPBACK}:{server.sockets[0].getsockname()[1]}") as api:
        answer = await api("POST", "/payments", token="x", json={})
    server.close()
    return answer.outcome, answer.status, answer.code


def respond(head: str, body: str) -> Reply:
    return lambda writer: writer.write(
        f"HTTP/1.1 {head}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode()
    )


@pytest.mark.parametrize(
    ("reply", "outcome", "status", "code"),
    [
        (respond("202 Accepted", "{}"), Outcome.DONE, 202, ""),
        (respond("503 X\r\ncontent-type: application/problem+json", '{"code": "away"}'), Outcome.REFUSED, 503, "away"),
        (respond("504 X\r\ncontent-type: application/problem+json", '{"code": "late"}'), Outcome.UNKNOWN, 504, "late"),
        (respond("500 X\r\ncontent-type: text/html", "<p>"), Outcome.UNKNOWN, 500, "no problem+json"),
        (lambda writer: writer.transport.abort(), Outcome.UNKNOWN, 0, "ConnectError"),
        (lambda _: None, Outcome.UNKNOWN, 0, "ConnectError"),
        (
            lambda writer: writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 9\r\n\r\nhalf"),
            Outcome.UNKNOWN,
            0,
            "BodyDecodeError",
        ),
    ],
)
async def test_response_to_a_sent_request_is_classified(reply: Reply, outcome: Outcome, status: int, code: str) -> None:
    assert await answer_to(reply) == (outcome, status, code)


async def test_refused_connection_means_not_sent() -> None:
    async with Api(f"http://{ports.LOOPBACK}:{ports.free_port()}") as api:
        answer = await api("POST", "/payments", json={})
    assert (answer.outcome, answer.status, answer.is_unavailable) == (Outcome.NOT_SENT, 0, True)
