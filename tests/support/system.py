"""Server with its gateway, and the projects, tokens and backups that tests use."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import grpc
import psycopg
from google.protobuf import json_format

from backup_sharing.identity.static import add_token, digest
from backupsharing.v2.backup_catalog_pb2 import PutBackupRequest
from backupsharing.v2.backup_catalog_pb2_grpc import BackupCatalogServiceStub
from backupsharing.v2.backup_pb2 import Backup
from backupsharing.v2.backup_sharing_pb2_grpc import BackupSharingServiceStub
from tests.support.ports import free_address
from tests.support.programs import Program, Programs
from tests.support.rest import Rest
from tests.support.wire import Answer, Json

SERVICE_TOKEN = "service"
ADMIN_TOKEN = "admin"
READER_TOKEN = "reader"
EXPIRED_TOKEN = "once-good"
DOCUMENTED_GIVER = "c13f5220dc1949b0b741ea81a7cd5554"


@dataclass(frozen=True, slots=True)
class Project:
    """Project with a member whose token is ``member-ID``."""

    id: str

    @property
    def token(self) -> str:
        return f"member-{self.id}"

    @property
    def path(self) -> str:
        return f"/v2/{self.id}/os-vendor-backup-sharing"


def new_id() -> str:
    """Return a new project id."""
    return uuid.uuid4().hex


def write_tokens(folder: Path, projects: list[Project]) -> None:
    """Write the server's token file for these projects."""
    path = folder / "tokens.json"
    add_token(path, "", ["service"], "catalogue", None, token=SERVICE_TOKEN)
    add_token(path, new_id(), ["admin"], "administrator", None, token=ADMIN_TOKEN)
    add_token(path, DOCUMENTED_GIVER, ["reader"], "reader", None, token=READER_TOKEN)
    add_token(path, DOCUMENTED_GIVER, ["member"], "late", 1.0, token=EXPIRED_TOKEN)
    # One write for all tokens, because each `add_token` syncs the file to disk.
    tokens = json.loads(path.read_text(encoding="utf-8"))["tokens"] + [_member(project) for project in projects]
    path.write_text(json.dumps({"tokens": tokens}), encoding="utf-8")


def _member(project: Project) -> dict[str, Json]:
    entry = {"project_id": project.id, "roles": ["member", "reader"], "user_id": "member", "expires_at": None}
    return {"sha256": digest(project.token), **entry}


class System:
    """Server with its gateway; their data is in a folder."""

    def __init__(
        self, folder: Path, programs: Programs, projects: int, *server_arguments: str, postgres: str = ""
    ) -> None:
        """Start both; create tokens for the documented giver and for ``projects`` more projects.

        The database is a file in the folder, or the database at the URL ``postgres``.
        """
        self.folder = folder
        self.postgres = postgres
        known = [Project(DOCUMENTED_GIVER), *(Project(new_id()) for _ in range(projects))]
        write_tokens(folder, known)
        self.documented_giver, self._unused = known[0], iter(known[1:])
        self.grpc_address, self._server_arguments, self._programs = free_address(), server_arguments, programs
        self.start_server()
        self.rest = Rest(free_address())
        self.gateway = programs.gateway(self.rest.address, self.grpc_address)
        self.channel = grpc.insecure_channel(self.grpc_address, options=[("grpc.max_reconnect_backoff_ms", 500)])
        self.sharings = BackupSharingServiceStub(self.channel)
        self.catalog = BackupCatalogServiceStub(self.channel)

    def start_server(self) -> None:
        """Start the server; a restart uses the same address and data."""
        self.server = self.start_another(self.grpc_address)

    def start_another(self, address: str) -> Program:
        """Start another server on the same data."""
        return self._programs.server(address, self.folder, *self._server_arguments, database=self.postgres)

    def close(self) -> None:
        self.channel.close()

    def new_project(self) -> Project:
        """Return a project that no other test uses."""
        return next(self._unused)

    def put_backup(self, owner: Project, **members: object) -> str:
        """Put a backup into the catalogue, by default available and with a new id; return the id."""
        backup = {"id": str(uuid.uuid4()), "project_id": owner.id, "status": "available", **members}
        request = PutBackupRequest(backup=json_format.ParseDict(backup, Backup()))
        self.catalog.PutBackup(request, metadata=[("x-auth-token", SERVICE_TOKEN)], wait_for_ready=True)
        return str(backup["id"])

    async def share(self, giver: Project, backup_id: str, *recipients: str, **headers: str) -> Answer:
        """Share a backup by POST; underscores in header names become hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        body = {"shared": {"to_project_ids": list(recipients), "backup_id": backup_id}}
        return await self.rest.call("POST", giver.path, token=giver.token, body=body, headers=named)

    async def list(self, project: Project, query: str = "") -> Answer:
        return await self.rest.call("GET", f"{project.path}/detail?{query}", token=project.token)

    async def count(self, project: Project, query: str = "") -> int:
        answer = await self.rest.call("GET", f"{project.path}/count?{query}", token=project.token)
        assert answer.status == 200, answer
        return int(answer.json["count"])

    def rows(self, backup_id: str) -> list[tuple[str, str, int | None]]:
        """Return id, recipient and end time of every database row of a backup, ordered by id."""
        query = "SELECT id, to_project_id, deleted_at FROM sharings WHERE backup_id = ? ORDER BY id"
        return self._query(query, backup_id)

    def events(self, backup_id: str) -> Counter[str]:
        """Return the number of events of a backup in the database by kind."""
        query = "SELECT kind FROM sharing_events WHERE backup_id = ?"
        return Counter(kind for (kind,) in self._query(query, backup_id))

    def _query(self, query: str, value: str) -> list[tuple[Json, ...]]:
        if self.postgres:
            with psycopg.connect(self.postgres, autocommit=True) as session:
                return session.execute(query.replace("?", "%s"), (value,)).fetchall()
        with closing(sqlite3.connect(f"{(self.folder / 'sharings.db').as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(query, (value,)).fetchall()

    def locked(self) -> closing[sqlite3.Connection] | closing[psycopg.Connection[tuple[Json, ...]]]:
        """Block all writes to the database until the returned connection closes."""
        if self.postgres:
            session = psycopg.connect(self.postgres)
            session.execute("LOCK TABLE backups, sharings IN EXCLUSIVE MODE")
            return closing(session)
        connection = sqlite3.connect(self.folder / "sharings.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        return closing(connection)

    def spoil_backups(self) -> None:
        """Corrupt the stored backups under the running server."""
        with closing(sqlite3.connect(self.folder / "sharings.db", isolation_level=None)) as connection:
            connection.execute("UPDATE backups SET name = CAST(x'ff' AS TEXT)")

    def calls(self) -> Iterator[dict[str, Json]]:
        """Yield the server's log records of calls."""
        lines = (json.loads(line) for line in self.server.printed.splitlines())
        return (line for line in lines if line["event"] == "call")
