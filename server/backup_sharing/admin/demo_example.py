"""Data of the demo: the documented example, some more backups, and public tokens."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.protobuf import json_format

from backupsharing.v2 import backup_catalog_pb2, backup_catalog_pb2_grpc, backup_sharing_pb2, backup_sharing_pb2_grpc
from backupsharing.v2.backup_pb2 import Backup

OWNER = "c13f5220dc1949b0b741ea81a7cd5554"
RECIPIENT = "722513ed0a324dadaabe5b2d0fe848c9"
SECOND_RECIPIENT = "722513ed0a324dadaabe5b2d0fe84919"
OUTSIDER = "0ff5e7c0ffee4dadaabe5b2d0fe84aaa"
SHARED_BACKUP = "066b1e37-9305-4057-97e5-2e99b21fc71d"


@dataclass(frozen=True, slots=True)
class DemoToken:
    """A public token of the demo."""

    token: str
    project_id: str
    roles: tuple[str, ...]

    @property
    def user_id(self) -> str:
        """Name of the holder in logs; differs from the token, because logs never contain a token."""
        return f"the demo's {self.token.removeprefix('demo-')}"


TOKENS = (
    DemoToken("demo-owner", OWNER, ("member", "reader")),
    DemoToken("demo-reader", OWNER, ("reader",)),
    DemoToken("demo-recipient", RECIPIENT, ("member", "reader")),
    DemoToken("demo-outsider", OUTSIDER, ("member", "reader")),
    DemoToken("demo-service", "", ("service",)),
)

_EXAMPLE = {
    "availability_zone": "AZ1",
    "created_at": "2017-08-08T04:03:27.000000Z",
    "data_timestamp": "2017-08-08T04:03:27.000000Z",
    "fail_reason": "Invalid InitiatorConnector protocol specified DSWARE",
    "id": SHARED_BACKUP,
    "name": "lbf",
    "object_count": 0,
    "size": 1,
    "status": "available",
    "updated_at": "2017-08-16T07:24:24.786297Z",
    "volume_id": "a7d7783f-02b7-4645-b0e3-61df63f0ba10",
    "project_id": OWNER,
}

_MORE = (
    ("mail-monday", 10, "AZ1", "available"),
    ("mail-tuesday", 10, "AZ1", "available"),
    ("Mail-Wednesday", 12, "AZ2", "available"),
    ("database_100%", 500, "AZ2", "available"),
    ("database_full", 512, "AZ2", "available"),
    ("straße", 40, "AZ3", "available"),
    ("web", 8, "AZ3", "available"),
    ("archive", 2048, "AZ1", "available"),
    ("being-made", 20, "AZ1", "creating"),
)


def backups() -> list[Backup]:
    """Return the backups of the demo; all belong to `OWNER`."""
    more = [
        {
            "availability_zone": zone,
            "created_at": f"2017-09-{number:02}T10:00:00.000000Z",
            "data_timestamp": f"2017-09-{number:02}T10:00:00.000000Z",
            "id": f"00000000-0000-4000-8000-{number:012}",
            "name": name,
            "size": size,
            "status": status,
            "volume_id": f"00000000-0000-4000-9000-{number:012}",
            "project_id": OWNER,
        }
        for number, (name, size, zone, status) in enumerate(_MORE, 1)
    ]
    return [json_format.ParseDict(members, Backup()) for members in (_EXAMPLE, *more)]


async def seed(channel: grpc.aio.Channel) -> None:
    """Put the demo's backups into the catalogue; existing ones are not changed."""
    stub = backup_catalog_pb2_grpc.BackupCatalogServiceStub(channel)
    metadata = (("x-auth-token", "demo-service"),)
    for backup in backups():
        try:
            await stub.GetBackup(backup_catalog_pb2.GetBackupRequest(backup_id=backup.id), metadata=metadata)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            await stub.PutBackup(backup_catalog_pb2.PutBackupRequest(backup=backup), metadata=metadata)


async def is_shared(channel: grpc.aio.Channel) -> bool:
    """Return whether the documented example is shared already; sharing it again would be a conflict."""
    stub = backup_sharing_pb2_grpc.BackupSharingServiceStub(channel)
    request = backup_sharing_pb2.CountSharingsRequest(project_id=OWNER, backup_id=SHARED_BACKUP)
    return (await stub.CountSharings(request, metadata=(("x-auth-token", "demo-owner"),))).count > 0


@dataclass(frozen=True, slots=True)
class Addresses:
    """HOST:PORT of each port of the demo."""

    rest: str
    grpc: str
    gateway_admin: str
    server_admin: str


def banner(addresses: Addresses, data: Path, *, shared: bool) -> str:
    """Return an introduction with examples to paste into a terminal."""
    url = f"http://{addresses.rest}"
    path = f"{url}/v2/{OWNER}/os-vendor-backup-sharing"
    share = f"""# Share a backup with two projects
curl -sS -X POST {path} \\
  -H 'X-Auth-Token: demo-owner' -H 'Content-Type: application/json' \\
  -d '{{"shared": {{"to_project_ids": ["{RECIPIENT}", "{SECOND_RECIPIENT}"], "backup_id": "{SHARED_BACKUP}"}}}}'"""
    listing = f"""# List what this project shares
curl -sS {path}/detail -H 'X-Auth-Token: demo-owner'"""
    cancel = f"""# Cancel all sharings of the backup
curl -sS -X DELETE '{path}/{SHARED_BACKUP}?is_backup_id=true' -H 'X-Auth-Token: demo-owner'"""
    received = f"""# List over gRPC the sharings that the recipient received
{sys.executable} - <<'END'
import grpc
from backupsharing.v2 import backup_sharing_pb2 as pb, backup_sharing_pb2_grpc as rpc
with grpc.insecure_channel("{addresses.grpc}") as channel:
    request = pb.ListSharingsRequest(project_id="{RECIPIENT}", share_to_me=True)
    print(rpc.BackupSharingServiceStub(channel).ListSharings(request, metadata=[("x-auth-token", "demo-recipient")]))
END"""
    steps = [share, listing, received, cancel]
    note = ""
    if shared:
        note = "\nThe example is shared already, from an earlier run: cancel first, then share again.\n"
        steps = [cancel, share, listing, received]
    tokens = "\n".join(
        f"  {demo.token:<15} {', '.join(demo.roles):<15} {demo.project_id or '(no project)'}" for demo in TOKENS
    )
    examples = "\n\n".join(steps)
    return f"""
backup-sharing is running: REST on {url}, gRPC on {addresses.grpc}.
To try it in a browser: {url}/docs
Health and metrics: http://{addresses.gateway_admin}/readyz (gateway), http://{addresses.server_admin}/readyz (server);
/livez and /metrics are there too.

Tokens:
{tokens}
{note}
{examples}

Database and logs are in {data}. Ctrl-C stops it; the data stays.
"""
