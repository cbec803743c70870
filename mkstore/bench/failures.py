"""What can end a run early, and the sentence that the operator reads."""

from mkstore.bench.contenders.seed import SeedFailed
from mkstore.bench.load.wrk import WrkFailed
from mkstore.bench.peers import PeerNotBuilt
from mkstore.bench.scenarios.reads import PreparationFailed
from mkstore.chaos.store import NotRecovered
from mkstore.stack.managed_process import ProcessFailed

EXPECTED = (
    NotRecovered,
    OSError,
    PeerNotBuilt,
    PreparationFailed,
    ProcessFailed,
    SeedFailed,
    TimeoutError,
    WrkFailed,
)


def explained(error: Exception) -> str:
    """Return a sentence about one of the expected errors."""
    log = f" The end of its log:\n{error.log}" if isinstance(error, ProcessFailed) and error.log else ""
    return f"The benchmark could not be run: {str(error) or type(error).__name__}.{log}"
