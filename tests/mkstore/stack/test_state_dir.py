"""State folders: one launcher at a time; a start waits for the cleanup of a killed launcher."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mkstore.stack.state_dir import DamagedSecrets, StateDirInUse, open_state_dir
from tests.support.running_store import eventually

LOCKED_THEN_GONE = """
import os, pathlib, subprocess, sys
from mkstore.stack.state_dir import open_state_dir
with open_state_dir(pathlib.Path(sys.argv[1]), ephemeral=False) as home:
    subprocess.Popen(["sleep", "1"], pass_fds=[home.lock], stdout=subprocess.DEVNULL)
    os._exit(9)
"""


def test_second_launcher_gets_the_pid_of_the_first(tmp_path: Path) -> None:
    refused = pytest.raises(StateDirInUse, match=f"already runs in {tmp_path} .pid {os.getpid()}.")
    with open_state_dir(tmp_path, ephemeral=False), refused, open_state_dir(tmp_path, ephemeral=False):
        pass
    with open_state_dir(tmp_path, ephemeral=False) as again:
        assert again.root == tmp_path


def test_start_waits_for_the_reaper_of_a_killed_launcher(tmp_path: Path) -> None:
    """The launcher is a zombie until its parent collects it: its pid exists, but it does not run."""
    launcher = subprocess.Popen([sys.executable, "-c", LOCKED_THEN_GONE, str(tmp_path)], stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: psutil.Process(launcher.pid).status() == psutil.STATUS_ZOMBIE)
        with open_state_dir(tmp_path, ephemeral=False) as home:
            assert home.root == tmp_path
    finally:
        launcher.wait()


def test_what_is_written_while_it_is_open_is_private(tmp_path: Path) -> None:
    own = os.umask(0o022)
    try:
        with open_state_dir(tmp_path / "home", ephemeral=False) as state:
            state.log("gateway").touch()
            assert stat.S_IMODE(state.log("gateway").stat().st_mode) == 0o600
        (tmp_path / "later").touch()
        assert stat.S_IMODE((tmp_path / "later").stat().st_mode) == 0o644
    finally:
        os.umask(own)


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_damaged_secrets_are_named_with_the_repair(tmp_path: Path, content: str) -> None:
    (tmp_path / "secrets.json").write_text(content)
    with open_state_dir(tmp_path, ephemeral=False) as state, pytest.raises(DamagedSecrets, match="is damaged: restore"):
        state.secrets([])


def test_lost_secrets_of_existing_data_are_named_with_the_repair(tmp_path: Path) -> None:
    with open_state_dir(tmp_path, ephemeral=False) as state:
        first = state.secrets(["users"])
        assert state.secrets(["users"]) == first
        (tmp_path / "postgres" / "data").mkdir(parents=True)
        (tmp_path / "secrets.json").unlink()
        with pytest.raises(DamagedSecrets, match=r"secrets\.json is missing: restore"):
            state.secrets(["users"])
