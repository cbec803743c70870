"""One `mkstore up`: starts every process in order, keeps them running, and stops them in order."""

import asyncio
import contextlib
import importlib
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import asyncpg
import psutil

from contracts.shards import Shards
from kit.errors import CannotStart
from kit.runtime.tasks import cancel_and_wait
from mkstore.generated import NotDocumented
from mkstore.services import ServiceSpec, of_shards
from mkstore.stack.managed_process import ProcessFailed
from mkstore.stack.migrations import is_newest, migrate
from mkstore.stack.plan import Options, Plan, PortMapper, defaults, identity, make_plan
from mkstore.stack.preconditions import StartRefused, check_data, check_shards
from mkstore.stack.reaper import Reaper, end_leftovers
from mkstore.stack.replication import Replication
from mkstore.stack.servers import create_databases, give_database, unreachable
from mkstore.stack.service_process import own_variables
from mkstore.stack.source_changes import source_changes
from mkstore.stack.state_dir import StateDir, write_private
from mkstore.stack.supervisor import Supervisor

READY_TIMEOUT = 90.0
"""Seconds until a process must be ready: a first start compiles every module."""
NICENESS = 4
"""Nice value of a ready service, so that a restarted service, which needs a second of processor, starts before it.

Under full load users answers again after 2.2 to 2.8 s instead of 3.6 to 3.7 s (ADR 8)."""

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REPEATED_SIGNAL_DELAY = 0.5
_WATCH_INTERVAL = 0.5
_PROVISION_INTERVAL = 5.0


Outdated = Callable[[Sequence[ServiceSpec]], Sequence[str]]
"""Returns the paths of documents that are not those of the code, see `mkstore.outdated`."""


class LocalStack:
    """A run of `specs` in a locked state folder.

    `say` prints progress; `on_ready` is called once every process is ready, each of which may take `ready_timeout`
    seconds. `outdated` returns the committed documents that are not those of the code; no service starts with them.
    """

    def __init__(
        self,
        options: Options,
        specs: Sequence[ServiceSpec],
        state: StateDir,
        environ: Mapping[str, str],
        *,
        say: Callable[[str], None],
        on_ready: Callable[[Plan, StateDir], None],
        map_port: PortMapper = identity,
        niceness: int = NICENESS,
        outdated: Outdated | None = None,
        ready_timeout: float = READY_TIMEOUT,
    ) -> None:
        self._state = state
        self._say = say
        self._on_ready = on_ready
        self._documented = specs
        self._specs = of_shards(specs, Shards(options.shards))
        self._shards = options.shards
        self._outdated = outdated
        self._ready_timeout = ready_timeout
        self._environ = environ
        self._defaults = defaults(options)
        self._plan = make_plan(options, self._specs, state, environ, niceness=niceness, map_port=map_port)
        self._reaper = Reaper(state)
        self._reload = options.reload
        self._tasks: list[asyncio.Task[None]] = []
        self._stop_traces: Callable[[], Awaitable[None]] | None = None
        self._supervisor = Supervisor(say, self._write_run_file, ready_timeout=ready_timeout)
        self._stop_requested = asyncio.Event()
        self._requested_at = 0.0
        self._is_up = False

    async def run(self) -> None:
        """Run until SIGINT, SIGTERM or SIGHUP; return when no process is left.

        Raises `ProcessFailed` if a process does not become ready, `StartRefused` if a server that the environment names
        or the existing data cannot be used.
        """
        end_leftovers(self._state.root, self._state.data)
        for number in _STOP_SIGNALS:
            # Under nohup SIGHUP stays ignored: the stack outlives its terminal.
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, self._request_stop)
        watches = [asyncio.create_task(self._watch_parent()), asyncio.create_task(self._watch_workers())]
        requested = asyncio.create_task(self._stop_requested.wait())
        up = asyncio.create_task(self._bring_up())
        try:
            await asyncio.wait([up, requested], return_when=asyncio.FIRST_COMPLETED)
            if up.done():
                up.result()
                await requested
        finally:
            await cancel_and_wait([up, requested, *watches])
            with contextlib.suppress(asyncio.CancelledError, ProcessFailed, StartRefused):
                up.result()
            await self._bring_down()

    async def _bring_up(self) -> None:
        plan, supervisor = self._plan, self._supervisor
        for postgres in plan.postgres:
            check_data(postgres.data)
        check_shards(self._state.data, self._shards)
        await supervisor.start(self._reaper)
        # Importing it takes 0.4 s of processor, in which the servers start.
        imported = asyncio.to_thread(importlib.import_module, "kit.ops.provisioning")
        await asyncio.gather(supervisor.start(*plan.servers), imported, self._check_documents())
        if not plan.nats and (reason := await unreachable(plan.nats_url)):
            raise StartRefused(f"NATS_URL: {reason}; correct it, start NATS, or unset it to use an embedded one")
        if plan.pair:
            replication = Replication(plan.pair, self._say, self._write_run_file)
            self._tasks.append(asyncio.create_task(replication.run()))
            await replication.wait_until_complete()
        await self._provision_first()
        if behind := await self._databases():
            self._say(f"migrating {', '.join(str(spec.database) for spec in behind)} to the newest schema")
            work = [(spec, plan.environments[spec.name], self._state.log(f"migrations-{spec.name}")) for spec in behind]
            await migrate(work, timeout=self._ready_timeout)
        await self._receive_traces()
        if plan.services:
            self._say(f"starting {', '.join(service.name for service in plan.services)}")
        await supervisor.start(*plan.services)
        self._is_up = True
        if plan.nats:
            self._tasks.append(asyncio.create_task(self._keep_provisioned()))
        if self._reload:
            self._tasks.append(asyncio.create_task(self._keep_reloaded()))
        own = {name: own_variables(env, self._environ) for name, env in plan.environments.items()}
        write_private(self._state.environments_file, own)
        self._write_run_file()
        self._on_ready(plan, self._state)

    async def _check_documents(self) -> None:
        """Raise `StartRefused` unless the documents list what the services do; NATS would refuse all the rest."""
        if self._outdated is None:
            return
        try:
            changed = await asyncio.to_thread(self._outdated, self._documented)
        except NotDocumented as error:
            raise StartRefused(str(error).removesuffix(".")) from error
        if changed:
            verb = "is" if len(changed) == 1 else "are"
            raise StartRefused(f"{' and '.join(changed)} {verb} older than the code; run `mkstore docs`")

    async def _provision_first(self) -> None:
        """Provision before the services start; a cluster that has just started may change its leaders once more."""
        if len(self._plan.nats) > 1:
            with contextlib.suppress(CannotStart):
                await self._provision()
        try:
            await self._provision()
        except CannotStart as error:
            raise StartRefused(str(error).removesuffix(".")) from error

    async def _provision(self) -> None:
        """Create and update streams and consumers; no service may. Raises `CannotStart`."""
        from kit.ops import provisioning  # noqa: PLC0415 - slow to import, and `mkstore --help` is not
        from kit.runtime.client_security import ClientSecurity  # noqa: PLC0415 - same reason

        sizes = provisioning.sizes_in({**self._defaults, **self._environ})._replace(shards=self._shards)
        security = ClientSecurity.in_environment(self._plan.admin_security)
        if changes := await provisioning.provision(self._plan.admin_url, sizes, security):
            self._say(f"provisioned {', '.join(change.name for change in changes)}")

    async def _receive_traces(self) -> None:
        """Start the receiver of traces; without it the services run as well, and only their traces are lost."""
        if (address := self._plan.traces) is None:
            return
        try:
            module = await asyncio.to_thread(importlib.import_module, "mkstore.traces.server")  # 0.2 s of processor
            server = module.TraceServer(address.port, address.token)
            await server.start()
        except (ImportError, OSError) as error:
            self._say(f"traces are not received: {error}")
        else:
            self._stop_traces = server.stop

    async def _keep_provisioned(self) -> None:
        """Provision its own NATS server anew when it has lost its data, or somebody has changed a stream."""
        while True:
            await asyncio.sleep(_PROVISION_INTERVAL)
            with contextlib.suppress(CannotStart):  # the server is away, or readiness of the services names the stream
                await self._provision()

    async def _keep_reloaded(self) -> None:
        """Restart the services whenever their code has changed; one that cannot start waits for the next change."""
        async for _ in source_changes(self._reload):
            self._say("the code has changed; the services are restarted")
            await self._stop_services()
            started = self._supervisor.start(*self._plan.services)
            results = await asyncio.gather(started, self._check_documents(), return_exceptions=True)
            if errors := [result for result in results if isinstance(result, BaseException)]:
                self._report(errors[0])
            else:
                self._say("the services run the changed code")

    def _report(self, error: BaseException) -> None:
        """Say why services do not run, or lack rights, after a change. Raises `error` if the code is not the reason."""
        match error:
            case ProcessFailed():
                self._say(f"{error}. The end of its log:\n{error.log}")
            case StartRefused():
                self._say(f"{error}. NATS grants the rights of the documents at the next start of mkstore.")
            case _:
                raise error

    async def _stop_services(self) -> None:
        if self._plan.gateway is not None:
            await self._supervisor.stop(self._plan.gateway)
        await self._supervisor.stop(*self._plan.behind_gateway)

    async def _databases(self) -> list[ServiceSpec]:
        """Create missing databases and their owners; return the services whose database may have an old schema."""
        owned = {spec.database: spec for spec in self._specs if spec.database is not None}
        try:
            new = await create_databases(self._plan.postgres_url, owned)
            if self._plan.postgres:
                await self._give_databases(owned)
            return [
                spec
                for name, spec in owned.items()
                if spec.migrations is not None
                and (name in new or not await is_newest(self._plan.database.url_of(name), spec))
            ]
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            login = self._plan.database
            reason = str(error) or "it does not answer"
            raise StartRefused(
                f"PostgreSQL at {login.host}:{login.port} cannot be used for {', '.join(owned)}: {reason}; "
                "check DB_HOST, DB_PORT, DB_USER and DB_PASSWORD"
            ) from error

    async def _give_databases(self, owned: Mapping[str, ServiceSpec]) -> None:
        """Make each service's role the owner of its database; those of an earlier version belong to the superuser."""
        for name, spec in owned.items():
            login = self._plan.environments[spec.name]
            await give_database(self._plan.database.url_of(name), login["DB_USER"], login["DB_PASSWORD"])

    async def _bring_down(self) -> None:
        plan, supervisor = self._plan, self._supervisor
        await cancel_and_wait(self._tasks)
        await self._stop_services()
        if self._stop_traces is not None:  # after the services, which export their last spans when they stop
            await self._stop_traces()
        await supervisor.stop(*plan.nats)
        if plan.primary is not None:
            await supervisor.stop(plan.primary)  # before its standby, which gets everything
        await supervisor.stop(*plan.postgres)
        self._state.run_file.unlink(missing_ok=True)
        self._state.environments_file.unlink(missing_ok=True)
        await supervisor.stop(self._reaper)

    def _request_stop(self) -> None:
        now = time.monotonic()
        if not self._stop_requested.is_set():
            self._requested_at = now
            self._stop_requested.set()
            self._say("stopping; press Ctrl-C again to stop faster")
        elif now - self._requested_at > _REPEATED_SIGNAL_DELAY:
            # One Ctrl-C may arrive twice: from the terminal, and forwarded by a parent such as `uv run`.
            self._supervisor.hurry()

    def _write_run_file(self) -> None:
        if self._is_up:
            write_private(self._state.run_file, self._plan.record())

    async def _watch_workers(self) -> None:
        """Update the run file when a service has replaced one of its workers."""
        last = None
        while True:
            await asyncio.sleep(_WATCH_INTERVAL)
            if self._is_up and (record := self._plan.record()) != last:
                last = record
                self._write_run_file()

    async def _watch_parent(self) -> None:
        """Stop when the `uv run` that started this process was killed: the operator meant mkstore."""
        parent = os.getppid()
        with contextlib.suppress(psutil.Error):
            while psutil.Process(parent).name() == "uv":
                await asyncio.sleep(_WATCH_INTERVAL)
                if os.getppid() != parent:
                    self._request_stop()
                    return
