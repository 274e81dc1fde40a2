"""Servers, gateways and PostgreSQL as processes that can be killed and restarted on the same addresses."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc

from backup_sharing.identity.static import add_token
from backupsharing.v2.backup_catalog_pb2 import PutBackupRequest
from backupsharing.v2.backup_catalog_pb2_grpc import BackupCatalogServiceStub
from backupsharing.v2.backup_pb2 import Backup
from tests.support.ports import free_address
from tests.support.postgres.databases import new_database
from tests.support.postgres.server import PostgresServer
from tests.support.programs import PACKAGES, ROOT, environment

SERVICE_TOKEN = "service"
PATIENCE = 60.0
"""Seconds within which everything must work again after the last kill."""


@dataclass(frozen=True, slots=True)
class Project:
    """Giver with backups to share."""

    id: str
    backups: tuple[str, ...]

    @property
    def token(self) -> str:
        return f"member-{self.id}"

    @property
    def path(self) -> str:
        return f"/v2/{self.id}/os-vendor-backup-sharing"


_QUIET = ("--stop-on-stdin-close", "--log-level", "warning")


class Process:
    """Program that can be killed, and restarted with the same command line."""

    def __init__(self, name: str, log: Path, module: str, *arguments: str) -> None:
        self.name = name
        self._log = log
        self._command = (
            sys.executable,
            "-m",
            PACKAGES[module],
            *arguments,
            "--stop-on-stdin-close",
            "--log-level",
            "warning",
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def is_running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=log, stderr=log
            )

    def end(self, number: signal.Signals) -> None:
        """Send a signal and wait until the process has ended."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait(PATIENCE)
            assert process.stdin is not None
            process.stdin.close()


class Cluster:
    """Three servers on one database, and two gateways in front of them."""

    def __init__(self, folder: Path, projects: int, backups: int, *, servers: int = 3, gateways: int = 2) -> None:
        self.folder = folder
        self.projects = tuple(
            Project(uuid.uuid4().hex, tuple(str(uuid.uuid4()) for _ in range(backups))) for _ in range(projects)
        )
        self._write_tokens()
        self.postgres = PostgresServer(fsync=True)
        self.url = new_database(self.postgres.url)
        self.grpc_addresses = tuple(free_address() for _ in range(servers))
        self.addresses = tuple(free_address() for _ in range(gateways))
        self.servers = tuple(self._server(number, address) for number, address in enumerate(self.grpc_addresses))
        self.gateways = tuple(self._gateway(number, address) for number, address in enumerate(self.addresses))

    @property
    def processes(self) -> Sequence[Process]:
        """All servers and gateways."""
        return (*self.servers, *self.gateways)

    async def until_ready(self) -> None:
        """Wait until calls through every gateway succeed; raise TimeoutError after PATIENCE seconds."""
        project = self.projects[0]
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
            for address in self.addresses:
                url = f"http://{address}{project.path}/count"
                while await _status(session, url, project.token) != 200:  # noqa: ASYNC110 -- other processes
                    await asyncio.sleep(0.1)

    def put_backups(self) -> None:
        """Put all backups of all projects into the catalogue."""
        with grpc.insecure_channel(self.grpc_addresses[0]) as channel:
            stub = BackupCatalogServiceStub(channel)
            for project in self.projects:
                for identifier in project.backups:
                    backup = Backup(id=identifier, project_id=project.id, status="available", name="chaos", size=1)
                    metadata = [("x-auth-token", SERVICE_TOKEN)]
                    stub.PutBackup(PutBackupRequest(backup=backup), metadata=metadata, wait_for_ready=True)

    def logs(self) -> str:
        """Return the errors that the programs logged, each kind once."""
        reported: dict[str, str] = {}
        for path in sorted(self.folder.glob("*.log")):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                if '"level":"error"' in line or not line.startswith("{"):
                    reported.setdefault(line[-200:], f"{path.name}: {line}")
        return "\n".join(list(reported.values())[:20])

    def close(self) -> None:
        """Stop all programs and the database."""
        for process in reversed(self.processes):
            process.end(signal.SIGTERM)
        self.postgres.close()

    def _server(self, number: int, address: str) -> Process:
        files = ("--database", self.url, "--tokens", str(self.folder / "tokens.json"))
        return Process(
            f"server {number}",
            self.folder / f"server-{number}.log",
            "server",
            *("--grpc-listen", address, *files, "--max-active-sharings", "0"),
        )

    def _gateway(self, number: int, address: str) -> Process:
        upstream = ("--upstream", ",".join(self.grpc_addresses))
        return Process(
            f"gateway {number}", self.folder / f"gateway-{number}.log", "gateway", "--listen", address, *upstream
        )

    def _write_tokens(self) -> None:
        path = self.folder / "tokens.json"
        add_token(path, "", ["service"], "catalogue", None, token=SERVICE_TOKEN)
        for project in self.projects:
            add_token(path, project.id, ["member"], "member", None, token=project.token)


async def _status(session: aiohttp.ClientSession, url: str, token: str) -> int:
    try:
        async with session.get(url, headers={"X-Auth-Token": token}) as response:
            return response.status
    except aiohttp.ClientError:
        return 0
