"""Provisioning of NATS with an operator's login: the streams and durable consumers of all services.

`mkstore provision` and `mkstore up` call it; a container without mkstore runs `python -m kit.ops.provisioning`.
"""

import asyncio
import re
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.js import JetStreamContext
from nats.js.errors import ServiceUnavailableError

from contracts import nats_errors
from contracts.consumers import durables
from contracts.shards import MAX_SHARDS, Shards
from contracts.streams import STREAMS, Stream, streams_of
from kit.errors import CannotStart
from kit.messaging import streams
from kit.messaging.nats_compat import SecureClient
from kit.messaging.streams import Change, Holder, ProvisioningRefused
from kit.runtime.client_security import ClientSecurity, LoginRefused, TlsRefused
from kit.runtime.settings import ProvisioningSettings, load
from kit.runtime.tls import TlsFailed

UNCHANGED = "NATS is provisioned already: nothing has changed."

_CONNECT_TIMEOUT = 2
_OF_SHARD = re.compile(r"_[0-9]+OF[0-9]+$")
_TIMEOUT = 20.0
"""Seconds for the connection and all requests."""


class Sizes(NamedTuple):
    """What an operator decides about the streams."""

    replicas: int = 1
    event_stream_bytes: int | None = None
    """Maximum size of each stream of events; None keeps that of its contract."""
    shards: int = 1
    """Shards of the payments."""

    def streams(self) -> Sequence[Stream]:
        """Return every stream, of all shards, with these sizes."""
        size = {"max_bytes": self.event_stream_bytes} if self.event_stream_bytes else {}
        every = streams_of(Shards(self.shards).all)
        return [stream.model_copy(update=size) if stream.append_only else stream for stream in every]


class NotProvisioned(CannotStart):
    """NATS could not be provisioned; the message is one sentence for the operator."""


async def provision(urls: str, sizes: Sizes, security: ClientSecurity | None = None) -> list[Change]:
    """Create or update what is missing or differs on the NATS servers at `urls`; return the changes.

    No message is removed. Raises `NotProvisioned`.
    """
    client, errors = SecureClient(security), list[str]()

    async def remember(error: Exception) -> None:
        errors.append(str(error))

    try:
        async with asyncio.timeout(_TIMEOUT):
            await client.connect(
                urls.split(","),
                error_cb=remember,
                allow_reconnect=False,
                max_reconnect_attempts=1,  # otherwise a server that is away is tried until the end of the timeout
                reconnect_time_wait=0,
                connect_timeout=_CONNECT_TIMEOUT,
            )
            await _check_unrecorded(client.jetstream(), Shards(sizes.shards))
            changes = await streams.provision(client.jetstream(), sizes.streams(), sizes.replicas)
            return changes + await streams.provision_consumers(client.jetstream(), durables(Shards(sizes.shards)))
    except (TlsRefused, TlsFailed) as error:
        raise NotProvisioned(str(error)) from error
    except (NatsError, OSError, TimeoutError) as error:
        reported = " ".join([*errors, str(error)]).lower()
        raise NotProvisioned(_sentence(error, reported, in_file=bool(security and security.creds))) from error
    finally:
        if client.is_connected or client.is_connecting:
            await client.close()


async def _check_unrecorded(jetstream: JetStreamContext, shards: Shards) -> None:
    """Raise `NotProvisioned` if commands wait in streams of another number of shards: nothing would record them."""
    wanted = {stream.name for stream in streams_of(shards.all)}
    commands = {stream.name for stream in STREAMS if stream.sharded and not stream.append_only}
    for info in await jetstream.streams_info():
        name = info.config.name or ""
        if name in wanted or _OF_SHARD.sub("", name) not in commands:
            continue
        consumers = await jetstream.consumers_info(name)
        waiting = sum((each.num_pending or 0) + (each.num_ack_pending or 0) for each in consumers)
        if waiting:
            raise NotProvisioned(
                f"{name} has {waiting} messages that are not recorded, and SHARDS is {shards.count}: run the services "
                "with the number of shards that it belongs to until it has none (docs/scale.md)."
            )


def _sentence(error: Exception, reported: str, *, in_file: bool) -> str:
    """Return what is wrong and its repair; `reported` is everything that the client has reported.

    `in_file` says whether the login stands in a file.
    """
    if isinstance(error, ProvisioningRefused):
        return _refusal(error)
    if isinstance(error, NoRespondersError | ServiceUnavailableError):
        return "NATS has no JetStream: enable it in the server's configuration."
    if "permissions violation" in reported:
        return f"The login in {'NATS_CREDS' if in_file else 'NATS_URL'} may not change streams: use the operator's."
    if "authorization" in reported or "authentication" in reported:
        return str(LoginRefused(in_file=in_file))
    return "NATS does not answer: start it, or set NATS_URL to its address."


def _refusal(error: ProvisioningRefused) -> str:
    change = error.change
    if error.code == nats_errors.NO_STORAGE:
        return (
            f"NATS has no room for the {change.kind} {change.name} ({error}): free space on its disk, raise "
            "max_file_store, or set EVENT_STREAM_BYTES to a smaller size."
        )
    if error.holder:
        return _in_the_way(change.name, error.holder)
    if change.action == "created":
        return f"NATS refuses to create the {change.kind} {change.name}: {error}."
    return (
        f"The {change.kind} {change.name} is of an earlier version and cannot be updated ({error}): to start anew, "
        f"remove it with its messages (`nats {change.kind} rm`) and repeat this, or use an empty store."
    )


def _in_the_way(name: str, holder: Holder) -> str:
    """Return how to replace a consumer of a work queue, such as one that has got another name; nothing is removed."""
    taken = f"The consumer {name} cannot be created: {holder.name} takes the same messages of {holder.stream} and has "
    removal = f"`nats consumer rm {holder.stream} {holder.name}` removes it"
    if holder.messages:
        return f"{taken}{holder.messages} of them: run the version that uses it until it has none; then {removal}."
    return f"{taken}none: if no running version uses it, {removal}; then repeat this."


def sizes_in(environ: Mapping[str, str]) -> Sizes:
    """Return the sizes in `STREAM_REPLICAS`, `EVENT_STREAM_BYTES` and `SHARDS`. Raises `NotProvisioned` for text."""
    replicas = _number(environ, "STREAM_REPLICAS", "1 or 3")
    shards = _number(environ, "SHARDS", "2") or 1
    if shards > MAX_SHARDS:
        raise NotProvisioned(f"SHARDS must be at most {MAX_SHARDS}, not {shards}.")
    return Sizes(replicas or 1, _number(environ, "EVENT_STREAM_BYTES", "1073741824"), shards)


def _number(environ: Mapping[str, str], name: str, example: str) -> int | None:
    if not (given := environ.get(name)):
        return None
    if not given.isdecimal() or not int(given):
        raise NotProvisioned(f"{name} must be a number such as {example}, not {given!r}.")
    return int(given)


def main() -> int:
    """Provision the servers in `NATS_URL`, print the changes and return the exit code."""
    settings = load(ProvisioningSettings)
    try:
        sizes = Sizes(settings.stream_replicas, settings.event_stream_bytes, settings.shards)
        changes = asyncio.run(provision(settings.nats_url, sizes, ClientSecurity.of(settings)))
    except NotProvisioned as error:
        sys.stderr.write(f"{error}\n")
        return 1
    lines = [f"{change.action} the {change.kind} {change.name}" for change in changes] or [UNCHANGED]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
