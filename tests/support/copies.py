"""Copies of stored messages: JetStream sends what is read to the subject that the reader names, and may store it."""

import asyncio
import json

from nats.aio.client import Client


async def copy(client: Client, stream: str, subject: str, to: str) -> None:
    """Let JetStream send the last message of `subject` in a stream to another subject, with the rights of `client`."""
    body = json.dumps({"last_by_subj": subject}).encode()
    await client.publish(f"$JS.API.DIRECT.GET.{stream}", body, reply=to)
    await client.flush()


async def copy_forged(client: Client, stream: str, subject: str, body: bytes, to: str) -> None:
    """Store `body` under a subject that `client` may publish, and copy it to another one."""
    await client.jetstream().publish(subject, body)
    await copy(client, stream, subject, to)
    await asyncio.sleep(0.1)  # nothing tells the reader that the copy is stored
