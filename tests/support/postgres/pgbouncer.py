"""PgBouncer in front of a test server: all its clients share its connections to the server."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.support.ports import free_port
from tests.support.postgres.folder import PATIENCE, open_folder
from tests.support.postgres.user import User

PROGRAM = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
"""PgBouncer, which Debian installs beside the programs for administrators; None: it is not installed."""

SCRIPT = """
"$1" "$2/pgbouncer.ini" &
read -r _
kill "$!"
wait "$!"
rm -rf "$2"
"""
"""Runs PgBouncer in a folder until stdin closes, which also happens when the parent process dies."""

SETTINGS = """
[databases]
{name} = host={host} port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = {mode}
default_pool_size = {pool_size}
max_client_conn = 200
; A transaction gets another connection than the transaction before, if there is one.
server_round_robin = 1
"""


class PgBouncer:
    """PgBouncer that runs from construction until ``close``.

    :param url: URL of a database on the server, whose user needs no password.
    :param mode: pool mode: ``transaction``, ``session`` or ``statement``.
    :param pool_size: maximum number of connections to the server.
    """

    def __init__(self, url: str, mode: str = "transaction", pool_size: int = 3) -> None:
        if PROGRAM is None:
            pytest.skip("pgbouncer is not installed")
        self._parts = urlsplit(url)
        self._port = free_port()
        user = User.fit_for_postgres()
        self._folder = open_folder(user, on_disk=True)
        self._log = self._folder / "log"
        users, settings = self._folder / "users.txt", self._folder / "pgbouncer.ini"
        self._write(user, users, f'"{self._parts.username}" ""\n')
        self._write(user, settings, self._settings(mode, pool_size, users))
        command = ["sh", "-c", SCRIPT, "pgbouncer", PROGRAM, str(self._folder)]
        self._process = user.start(command, cwd=Path("/"), log=self._log)
        try:
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """URL of the database through PgBouncer."""
        return self._parts._replace(netloc=f"{self._parts.username}@127.0.0.1:{self._port}").geturl()

    def close(self) -> None:
        """Stop at once, and remove all files; idempotent."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _settings(self, mode: str, pool_size: int, users: Path) -> str:
        return SETTINGS.format(
            name=self._parts.path.lstrip("/"),
            host=self._parts.hostname,
            server_port=self._parts.port or 5432,
            port=self._port,
            users=users,
            mode=mode,
            pool_size=pool_size,
        )

    def _write(self, user: User, path: Path, text: str) -> None:
        path.write_text(text, encoding="ascii")
        user.own(path)

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(psycopg.OperationalError), psycopg.connect(self.url, connect_timeout=10):
                return
            time.sleep(0.01)
        raise AssertionError(f"PgBouncer did not start:\n{self._log.read_text(encoding='utf-8')}")
