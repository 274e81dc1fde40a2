"""Unmodified Go SDK of Open Telekom Cloud."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
from google.protobuf import json_format

from backupsharing.v2.backup_catalog_pb2 import PutBackupRequest
from backupsharing.v2.backup_catalog_pb2_grpc import BackupCatalogServiceStub
from backupsharing.v2.backup_pb2 import Backup
from tests.system.interop.rows import BUILD, ClientFailed, Place, Row, command, needs

_SOURCE = Path(__file__).parents[1] / "gosdk"
_PROGRAM = BUILD / "gosdk"
_SDK = "github.com/opentelekomcloud/gophertelekomcloud"


def _build() -> None:
    if unformatted := command("gofmt", "-l", str(_SOURCE)):
        raise ClientFailed(f"gofmt would change {unformatted}")
    command("go", "vet", "./...", cwd=_SOURCE)
    command("go", "build", "-o", str(_PROGRAM), ".", cwd=_SOURCE)


def _run(place: Place) -> None:
    _put_backups(place)
    environment = {
        **place.environment(),
        "OS_AUTH_URL": place.keystone,
        "OS_USERNAME": place.user,
        "OS_PASSWORD": place.password,
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": "RegionOne",
        "OS_PROJECT_ID": place.project,
    }
    command(str(_PROGRAM), environment=environment, seconds=120)


def _put_backups(place: Place) -> None:
    """Put the backups as the backup service does; the SDK has no such call."""
    metadata = (("x-auth-token", place.service_token),)
    with grpc.insecure_channel(place.grpc) as channel:
        catalog = BackupCatalogServiceStub(channel)
        for members in json.loads((_SOURCE / "backups.json").read_text(encoding="utf-8")):
            backup = json_format.ParseDict({**members, "project_id": place.project}, Backup())
            try:
                catalog.PutBackup(PutBackupRequest(backup=backup), metadata=metadata, timeout=10)
            except grpc.RpcError as failure:
                raise ClientFailed(f"PutBackup: {failure}") from None


def _version() -> str:
    return command("go", "list", "-m", "-f", "{{.Version}}", _SDK, cwd=_SOURCE).strip()


ROWS = [
    Row(
        name="Go SDK",
        api="REST",
        what="gophertelekomcloud, unchanged: log in, catalogue, every call of openstack/vbs/v2/shares",
        missing=lambda: needs("go", "gofmt"),
        build=_build,
        run=_run,
        notices=frozenset({"field", "null", "time"}),
        version=_version,
    )
]
"""Rows that this module adds to the table."""
