"""`mkstore up` with fake services."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from mkstore.services import ServiceSpec
from mkstore.stack import ports, processes
from mkstore.stack.console import run
from mkstore.stack.local_stack import NICENESS
from mkstore.stack.managed_process import MARK
from mkstore.stack.plan import Options
from mkstore.stack.servers import NatsServer, PostgresServer
from tests.support.running_store import Running, eventually, running

HERE = Path(__file__).parents[1] / "fakes"
LAUNCH = (sys.executable, str(HERE / "launch.py"))
PROCESSES = ("gateway", "users", "payments", "nats", "postgres")


def health(url: str) -> dict[str, Any]:
    return dict(httpx.get(f"{url}/health", timeout=5, trust_env=False).json())


def starts(home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LAUNCH, *(options or ("0",)), str(home), "1"], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def mkstore(home: Path) -> Iterator[Running]:
    env = {"LOG_LEVEL": "ERROR", "PORT": "1", "WEB_CONCURRENCY": "7", "DB_DATABASE": "another", "DB_POOL_SIZE": "3"}
    with running("0", str(home), "1", command=LAUNCH, env=env) as started:
        yield started


@pytest.fixture
def external(nats: NatsServer, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set the environment variables of servers that already run."""
    env = {
        "NATS_URL": nats.url,
        "DB_HOST": ports.LOOPBACK,
        "DB_PORT": str(postgres.port),
        "DB_USER": postgres.user,
        "DB_PASSWORD": postgres.password,
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return env


def test_run_file_has_every_address_and_is_private(mkstore: Running) -> None:
    record = mkstore.record
    assert tuple(record) == PROCESSES
    assert {name: set(entry) for name, entry in record.items()} == {
        "gateway": {"pid", "url"},
        "users": {"pid", "url"},
        "payments": {"pid", "url"},
        "nats": {"pid", "url", "admin_url", "monitor_url"},
        "postgres": {"pid", "url"},
    }
    assert all(psutil.pid_exists(entry["pid"]) for entry in record.values())
    assert stat.S_IMODE((mkstore.home / "run.json").stat().st_mode) == 0o600


def test_output_has_the_ready_line_and_no_password(mkstore: Running) -> None:
    assert f"mkstore is ready: {mkstore.url}" in mkstore.text.splitlines()
    for name in ("nats", "postgres"):
        password = mkstore.record[name]["url"].split("@")[0].rpartition(":")[2]
        assert password not in mkstore.text


def test_only_ready_services_have_a_lower_priority(mkstore: Running) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    wanted = [max(own, NICENESS)] * 3 + [own] * 2
    eventually(lambda: [psutil.Process(mkstore.record[name]["pid"]).nice() for name in PROCESSES] == wanted)


def test_service_environment_has_its_servers_and_user_settings(mkstore: Running) -> None:
    record = mkstore.record
    users, gateway = health(record["users"]["url"]), health(record["gateway"]["url"])
    own = json.loads((mkstore.home / "secrets.json").read_text())["nats_users"]
    assert users["NATS_URL"] == f"nats://users:{own}@{record['nats']['url'].rpartition('@')[2]}"
    assert (users["DB_DATABASE"], gateway["DB_DATABASE"]) == ("users_db", None)
    assert (users["APP_ENV"], users["LOG_LEVEL"], users["DB_POOL_SIZE"]) == ("development", "ERROR", "3")
    assert users["PORT"] is None
    assert users["JWT_SECRET"] == json.loads((mkstore.home / "secrets.json").read_text())["jwt_secret"]
    assert gateway["JWT_SECRET"] is None
    assert users["pid"] == record["users"]["pid"]


def test_secrets_are_private(mkstore: Running) -> None:
    assert stat.S_IMODE((mkstore.home / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((mkstore.home / "logs").stat().st_mode) == 0o700


def test_second_launcher_in_the_same_folder_exits_1(mkstore: Running) -> None:
    second = starts(mkstore.home)
    assert second.returncode == 1
    assert second.stdout == (
        f"mkstore could not start: mkstore already runs in {mkstore.home} (pid {mkstore.process.pid}); "
        "stop it, or use another --home.\n"
    )
    assert health(mkstore.url)["pid"] == mkstore.record["gateway"]["pid"]


@pytest.mark.parametrize("name", PROCESSES)
def test_killed_process_is_restarted_at_the_same_address(mkstore: Running, name: str) -> None:
    before = mkstore.record[name]
    mkstore.kill(name)
    mkstore.wait_for(f"{name} was killed by SIGKILL; it is restarted")
    mkstore.wait_for(f"{name} is ready again")
    after = mkstore.record[name]
    assert after["pid"] != before["pid"]
    assert {**after, "pid": 0} == {**before, "pid": 0}


def test_killed_reaper_is_restarted(mkstore: Running) -> None:
    (reaper,) = (p for p in mkstore.look_around() if "mkstore.stack.reaper" in p.cmdline())
    reaper.kill()
    mkstore.wait_for("reaper was killed by SIGKILL; it is restarted")
    eventually(lambda: any("mkstore.stack.reaper" in p.cmdline() for p in mkstore.look_around()))


def test_ctrl_c_stops_processes_in_order(mkstore: Running) -> None:
    """The last test of the shared store."""
    record = mkstore.record
    alive = {name: psutil.Process(record[name]["pid"]) for name in PROCESSES}
    mkstore.look_around()
    mkstore.process.send_signal(signal.SIGINT)
    ended: list[str] = []

    def all_ended() -> bool:
        ended.extend(n for n, p in alive.items() if n not in ended and not processes.is_alive(p))
        return len(ended) == len(alive)

    eventually(all_ended)
    assert mkstore.process.wait(20) == 0
    assert (ended[0], set(ended[1:3]), ended[3:]) == ("gateway", {"users", "payments"}, ["nats", "postgres"])
    assert "did not stop" not in mkstore.text
    mkstore.wait_until_nothing_is_left()
    assert not (mkstore.home / "run.json").exists()


def test_used_port_fails_with_one_line(tmp_path: Path) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        done = starts(tmp_path / "home", str(port))
    assert done.returncode == 1
    assert done.stdout == (
        f"mkstore could not start: port {port} is in use by another process; use --port 0 for a free port.\n"
    )
    assert done.stderr == ""


def test_unusable_state_folder_fails_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = starts(tmp_path / "file" / "home")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.count("\n") == 1


def test_interrupted_start_leaves_no_process(tmp_path: Path) -> None:
    with running("0", str(tmp_path), "1", "users", "gateway", command=LAUNCH, wait=False) as mkstore:
        mkstore.home = tmp_path.resolve()
        mkstore.wait_for("starting users")
        eventually(lambda: sum(mark.startswith("users@") for _, mark in processes.with_variable(MARK)))
        mkstore.look_around()
        mkstore.process.send_signal(signal.SIGTERM)
        assert mkstore.process.wait(20) == 0
        mkstore.wait_until_nothing_is_left()


def test_workers_end_with_their_service_or_launcher(tmp_path: Path) -> None:
    with running("0", str(tmp_path), "2", "users", "gateway", command=LAUNCH) as mkstore:
        before = mkstore.record["users"]
        assert len(before["pids"]) == 2
        workers = [psutil.Process(pid) for pid in before["pids"]]
        mkstore.kill("users")
        mkstore.wait_for("users is ready again")
        after = mkstore.record["users"]
        assert after["url"] == before["url"]
        assert not any(map(processes.is_alive, workers))  # an orphan may still be a zombie

        os.kill(after["pids"][0], signal.SIGKILL)
        eventually(lambda: set(mkstore.record["users"]["pids"]) not in [set(after["pids"]), set(after["pids"][1:])])
        assert mkstore.record["users"]["pid"] == after["pid"]

        assert len(mkstore.look_around()) >= 15
        mkstore.process.kill()
        for name in ("users", "gateway"):
            mkstore.kill(name)
        mkstore.process.wait()
        mkstore.wait_until_nothing_is_left()
        eventually(lambda: not (tmp_path / "run.json").exists())
        assert (tmp_path / "postgres" / "data").is_dir()


def test_killed_ephemeral_launcher_leaves_no_process_and_no_folder() -> None:
    with running("0", "", "2", "ephemeral", "gateway", command=LAUNCH) as mkstore:
        assert (mkstore.home / "postgres" / "data").is_dir()
        mkstore.process.kill()
        mkstore.process.wait()
        mkstore.wait_until_nothing_is_left()
        eventually(lambda: not mkstore.home.exists())


@pytest.mark.usefixtures("external")
def test_service_that_cannot_start_fails_with_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = ServiceSpec("gateway", "not_there:app", root=HERE)
    assert run(Options(0, tmp_path, ephemeral=False, workers=1), [spec]) == 1
    output = capsys.readouterr().out
    assert "mkstore could not start: gateway ended with exit code 2. The end of its log:" in output
    assert "not_there" in output.partition("The end of its log:")[2]
    assert not [mark for _, mark in processes.with_variable(MARK) if mark.endswith(str(tmp_path))]


@pytest.mark.usefixtures("external")
def test_failed_migration_fails_with_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = ServiceSpec("gateway", "fake_service:app", "users_db", migrations=tmp_path / "alembic.ini", root=HERE)
    assert run(Options(0, tmp_path, ephemeral=False, workers=1), [spec]) == 1
    output = capsys.readouterr().out
    assert "could not start: users_db could not be migrated. The end of its log:" in output
    assert "No 'script_location' key" in output.partition("The end of its log:")[2]


def test_external_servers_are_used_and_not_stopped(
    tmp_path: Path, nats: NatsServer, postgres: PostgresServer, external: dict[str, str]
) -> None:
    with running("0", str(tmp_path), "1", "payments", "gateway", command=LAUNCH, env=external) as mkstore:
        record = mkstore.record
        assert record["nats"] == {"pid": None, "url": nats.url, "admin_url": nats.url, "monitor_url": None}
        assert record["postgres"] == {"pid": None, "url": postgres.url}
        assert health(record["payments"]["url"])["NATS_URL"] == nats.url
    assert (nats.is_ready(), postgres.is_ready()) == (True, True)


@pytest.mark.usefixtures("external")
@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("NATS_URL", "nats://ada:secret@127.0.0.1:1", "NATS_URL: no server listens at 127.0.0.1:1; correct it"),
        ("NATS_URL", "nats.invalid", "NATS_URL: the host name 'nats.invalid' cannot be resolved; correct it"),
        ("NATS_URL", "nats://127.0.0.1:port", "NATS_URL: nats://127.0.0.1:port is not an address such as nats://"),
        ("DB_PORT", "1", "PostgreSQL at 127.0.0.1:1 cannot be used for users_db, payments_db: "),
        ("DB_HOST", "db.invalid", "PostgreSQL at db.invalid:"),
    ],
)
def test_unusable_external_server_is_named_with_its_variable(
    tmp_path: Path, variable: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    done = starts(tmp_path / "home")
    assert (done.returncode, done.stderr) == (1, "")
    assert f"mkstore could not start: {expected}" in done.stdout
    assert variable in done.stdout
    assert "secret" not in done.stdout


def test_normal_user_can_run_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    command: tuple[str, ...] = LAUNCH
    if os.geteuid() == 0:
        # In a user namespace, root appears as `nobody` to every program, and can still read this environment.
        command = ("unshare", "--user", "--map-user=65534", "--map-group=65534", *LAUNCH)
    with running("0", str(home), "1", "gateway", command=command) as mkstore:
        assert psutil.Process(mkstore.record["postgres"]["pid"]).cmdline()[0].endswith("postgres")
        assert health(mkstore.url)["pid"] == mkstore.record["gateway"]["pid"]
