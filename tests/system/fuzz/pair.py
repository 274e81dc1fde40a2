"""Fuzzing target: a server and a gateway as processes, with projects and backups."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from backup_sharing.identity.static import add_token
from backupsharing.v2.backup_catalog_pb2 import PutBackupRequest
from backupsharing.v2.backup_catalog_pb2_grpc import BackupCatalogServiceStub
from backupsharing.v2.backup_pb2 import Backup
from tests.support.ports import free_address
from tests.support.programs import Program, Programs

_SERVICE_TOKEN = "service"
_BACKUPS = 20
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Project:
    """Giver with backups that can be shared."""

    id: str
    token: str
    backups: tuple[str, ...]
    acknowledged: list[str] = field(default_factory=list)
    """Ids of sharings that the gateway acknowledged."""

    @property
    def path(self) -> str:
        return f"/v2/{self.id}/os-vendor-backup-sharing"


@dataclass(frozen=True, slots=True)
class Pair:
    """Both processes, their address and database."""

    address: str
    database: Path
    server: Program
    gateway: Program
    projects: tuple[Project, ...]

    def stored(self) -> list[str]:
        """Return the ids of all sharings in the database, including cancelled ones."""
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True)) as connection:
            return [identifier for (identifier,) in connection.execute("SELECT id FROM sharings")]


@asynccontextmanager
async def running_pair(projects: int) -> AsyncIterator[Pair]:
    """Start a pair on an empty database; stop the pair when the context exits."""
    with TemporaryDirectory() as folder, Programs() as programs:
        known = tuple(_project() for _ in range(projects))
        database, tokens = Path(folder) / "fuzz.db", Path(folder) / "tokens.json"
        add_token(tokens, "", ["service"], "catalogue", None, token=_SERVICE_TOKEN)
        for project in known:
            add_token(tokens, project.id, ["member"], "member", None, token=project.token)
        grpc_address, address = free_address(), free_address()
        quiet = ("--stop-on-stdin-close", "--log-level", "error")
        files = ("--database", str(database), "--tokens", str(tokens), "--max-active-sharings", "0")
        server = programs.start("server", "--grpc-listen", grpc_address, *files, *quiet)
        # Unfinished requests are part of the fuzz, so short timeouts save time.
        hasty = ("--body-timeout", "2", "--header-timeout", "2")
        gateway = programs.start("gateway", "--listen", address, "--upstream", grpc_address, *hasty, *quiet)
        await asyncio.to_thread(_put_backups, grpc_address, known)
        await _until_listening(address)
        yield Pair(address, database, server, gateway, known)


def _project() -> Project:
    identifier = uuid.uuid4().hex
    return Project(identifier, f"member-{identifier}", tuple(str(uuid.uuid4()) for _ in range(_BACKUPS)))


def _put_backups(address: str, projects: tuple[Project, ...]) -> None:
    with grpc.insecure_channel(address) as channel:
        stub = BackupCatalogServiceStub(channel)
        for project in projects:
            for identifier in project.backups:
                backup = Backup(id=identifier, project_id=project.id, status="available", name="fuzz", size=1)
                request = PutBackupRequest(backup=backup)
                stub.PutBackup(request, metadata=[("x-auth-token", _SERVICE_TOKEN)], wait_for_ready=True)


async def _until_listening(address: str) -> None:
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(_PATIENCE):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
