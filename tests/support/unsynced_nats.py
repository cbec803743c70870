"""A nats-server as most people run it."""

from mkstore.stack.servers import NatsServer


class UnsyncedNats(NatsServer):
    """Acknowledges what is not on its disk yet, which is nats-server's default."""

    def _configuration(self) -> dict[str, object]:
        configuration = super()._configuration()
        return configuration | {"jetstream": {"store_dir": str(self.folder.resolve() / "store")}}
