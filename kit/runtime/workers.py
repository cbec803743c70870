"""The workers of `faststream run --workers`, which uvicorn's supervisor starts, asks for replies and replaces.

Checked with uvicorn 0.54. The supervisor imports this module before it starts workers.
"""

from functools import partialmethod, wraps

import uvicorn
from uvicorn.supervisors.multiprocess import Process

PATIENCE = 20
"""Seconds within which a worker replies to its supervisor, also while it starts; otherwise it is killed."""

_start = Process.start


@wraps(_start)
def _start_and_close(self: Process) -> None:
    _start(self)
    self.child_conn.close()


# uvicorn's default of 5 s is less than a worker needs to start on a machine that is busy, and FastStream's command line
# passes numbers as strings, which uvicorn refuses.
uvicorn.Config.__init__ = partialmethod(  # type: ignore[assignment,method-assign]
    uvicorn.Config.__init__, timeout_worker_healthcheck=PATIENCE
)
# The supervisor keeps the worker's end of the pipe open. If a worker dies before it has replied, the supervisor does
# not see the end of the pipe and waits for `PATIENCE` seconds, during which it also replaces no other worker.
Process.start = _start_and_close  # type: ignore[method-assign]
