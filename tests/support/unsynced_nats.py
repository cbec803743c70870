"""A nats-server with its default of acknowledging before it syncs."""

from mkstore.stack.servers import NatsServer


class UnsyncedNats(NatsServer):
    """A NATS server that acknowledges messages before they are synced to disk."""

    def configuration(self) -> dict[str, object]:
        configuration = super().configuration()
        return configuration | {"jetstream": {"store_dir": str(self.folder.resolve() / "store")}}
