"""One `mkstore up` from beginning to end: everything up in order, kept up, and down in order."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence

import asyncpg
import psutil

from mkstore.stack import ports
from mkstore.stack import state_dir as homes
from mkstore.stack.managed_process import PartFailedError
from mkstore.stack.migrations import is_newest, migrate
from mkstore.stack.plan import Options, Plan, PortMapper, identity, planned
from mkstore.stack.reaper import Reaper, end_leftovers
from mkstore.stack.servers import anybody_listens, create_databases
from mkstore.stack.service_process import ServiceSpec
from mkstore.stack.state_dir import StateDir
from mkstore.stack.supervisor import Supervisor

PATIENCE = 90.0
"""Seconds that a part may take until it is ready: a first start compiles every module."""

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SAME_KEYSTROKE = 0.5
_LOOK_AGAIN = 0.5


class CannotStartError(Exception):
    """Why nothing could be started, in a sentence for the operator."""


class LocalStack:
    """A run of `specs` in a home that is already locked; progress goes to `say`, `ready` is called once all are up."""

    def __init__(
        self,
        options: Options,
        specs: Sequence[ServiceSpec],
        home: StateDir,
        environ: Mapping[str, str],
        *,
        say: Callable[[str], None],
        ready: Callable[[Plan, StateDir], None],
        detour: PortMapper = identity,
        patience: float = PATIENCE,
    ) -> None:
        self._home = home
        self._say = say
        self._ready = ready
        self._patience = patience
        self._plan = planned(options, specs, home, environ, detour)
        self._guardian = Reaper(home)
        self._supervisor = Supervisor(say, self._write_run_file, patience=patience)
        self._stop_asked = asyncio.Event()
        self._asked_at = 0.0
        self._is_up = False

    async def run(self) -> None:
        """Run until a signal asks to stop; return when no process is left.

        Raises:
            PartFailedError: a part did not come up.
            CannotStartError: a server that the environment names cannot be used.

        """
        end_leftovers(self._home.root, self._home.data)
        for number in _STOP_SIGNALS:
            # Started under nohup, it outlives its terminal.
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, self._ask_to_stop)
        watches = [asyncio.create_task(self._watch_starter()), asyncio.create_task(self._watch_workers())]
        asked = asyncio.create_task(self._stop_asked.wait())
        up = asyncio.create_task(self._bring_up())
        try:
            await asyncio.wait([up, asked], return_when=asyncio.FIRST_COMPLETED)
            if up.done():
                up.result()
                await asked
        finally:
            for task in (up, asked, *watches):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError, PartFailedError, CannotStartError):
                await up
            await self._bring_down()

    async def _bring_up(self) -> None:
        plan, supervisor = self._plan, self._supervisor
        await supervisor.start(self._guardian)
        await supervisor.start(*plan.servers)
        if plan.nats is None and not await anybody_listens(plan.nats_url):
            raise CannotStartError("nobody listens at any address that NATS_URL names")
        if behind := await self._databases():
            self._say(f"bringing {', '.join(str(spec.database) for spec in behind)} to the newest schema")
            work = [(spec, plan.environments[spec.name], self._home.log(f"migrations-{spec.name}")) for spec in behind]
            await migrate(work, within=self._patience)
        self._say(f"starting {', '.join(service.name for service in plan.services)}")
        await supervisor.start(*plan.services)
        self._is_up = True
        self._write_run_file()
        self._ready(plan, self._home)

    async def _databases(self) -> list[ServiceSpec]:
        """Create the databases that are missing; return the services whose database may have an old schema."""
        owned = {spec.database: spec for spec in (s.spec for s in self._plan.services) if spec.database is not None}
        try:
            await create_databases(self._plan.postgres_url, owned)
            return [
                spec
                for name, spec in owned.items()
                if spec.migrations is not None and not await is_newest(self._plan.database.url_of(name), spec)
            ]
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise CannotStartError(f"the databases {', '.join(owned)} cannot be used: {error}") from error

    async def _bring_down(self) -> None:
        plan, supervisor = self._plan, self._supervisor
        await supervisor.stop(plan.gateway)
        await supervisor.stop(*plan.services[:-1])
        for server in plan.servers:
            await supervisor.stop(server)
        self._home.run_file.unlink(missing_ok=True)
        await supervisor.stop(self._guardian)

    def _ask_to_stop(self) -> None:
        now = time.monotonic()
        if not self._stop_asked.is_set():
            self._asked_at = now
            self._stop_asked.set()
            self._say("stopping; press Ctrl-C again to hurry")
        elif now - self._asked_at > _SAME_KEYSTROKE:
            # One Ctrl-C may arrive twice: from the terminal, and from a parent such as `uv run` that passes it on.
            self._supervisor.hurry()

    def _write_run_file(self) -> None:
        if self._is_up:
            homes.write_private(self._home.run_file, self._plan.record())

    async def _watch_workers(self) -> None:
        """Keep the run file true when a service replaced a worker of its own."""
        last = None
        while True:
            await asyncio.sleep(_LOOK_AGAIN)
            if self._is_up and (record := self._plan.record()) != last:
                last = record
                self._write_run_file()

    async def _watch_starter(self) -> None:
        """Stop when the `uv run` that started this was killed: to the operator that was mkstore."""
        starter = os.getppid()
        with contextlib.suppress(psutil.Error):
            while psutil.Process(starter).name() == "uv":
                await asyncio.sleep(_LOOK_AGAIN)
                if os.getppid() != starter:
                    self._ask_to_stop()
                    return


def check_port(port: int) -> None:
    """Make sure that the gateway can listen.

    Raises:
        CannotStartError: something else does.

    """
    if port and not ports.is_free(port):
        raise CannotStartError(f"port {port} is in use by something else; --port 0 takes a free one")
