"""Three nats-servers that encrypt the connections among themselves, and verify each other."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from mkstore.stack import ports
from mkstore.stack.servers.nats_cluster import NatsNode, Routes, is_healthy
from tests.support.certificates import nats_server_tls, new_certificates
from tests.support.nats_nodes import running_nodes
from tests.support.polling import eventually


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_certificates(tmp_path_factory.mktemp("encrypted") / "certificates")


@pytest.fixture(scope="module")
def nodes(certificates: Path) -> Iterator[list[NatsNode]]:
    with running_nodes(certificates.parent, tls=nats_server_tls(certificates)) as nodes:
        yield nodes


async def test_routes_require_a_certificate(nodes: list[NatsNode], certificates: Path) -> None:
    verifying = ssl.create_default_context(cafile=certificates / "ca.crt")
    for node in nodes:
        reader, writer = await asyncio.open_connection(ports.LOOPBACK, node.routes.port, ssl=verifying)
        with pytest.raises(ssl.SSLError, match="certificate required"):
            await reader.read(1)
        writer.close()


@pytest.mark.parametrize("foreign", [True, False], ids=["with a foreign certificate", "without one"])
async def test_server_without_a_certificate_of_the_authority_is_not_admitted(
    nodes: list[NatsNode], tmp_path: Path, *, foreign: bool
) -> None:
    tls = nats_server_tls(new_certificates(tmp_path / "foreign")) if foreign else None
    before = len(nodes[0].log.read_text())
    stranger = NatsNode(
        "stranger", tmp_path / "nats", routes=Routes(ports.free_port(), [nodes[0].routes.port], "routes"), tls=tls
    )
    stranger.spawn()
    try:
        await eventually(lambda: "TLS route handshake error" in nodes[0].log.read_text()[before:])
        assert not is_healthy(stranger.monitor_url)
    finally:
        stranger.stop()
