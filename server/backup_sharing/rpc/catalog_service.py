"""``BackupCatalogService``: message → use case → message."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backup_sharing.rpc import mapping
from backup_sharing.rpc.admission.turns import COST_OF_ALL
from backup_sharing.rpc.audit import shown
from backup_sharing.rpc.pipeline import ServedMethod
from backup_sharing.usecases.catalog import Catalog
from backup_sharing.usecases.sharing import Caller
from backupsharing.v2 import backup_catalog_pb2 as pb

SERVICE = pb.DESCRIPTOR.services_by_name["BackupCatalogService"].full_name

_AT_ONCE = 100
"""Items of a page that are serialized before other tasks may run."""


@dataclass(frozen=True, slots=True)
class CatalogService:
    """The catalogue over gRPC. Its calls concern no single project; only the role is checked."""

    catalog: Catalog

    def methods(self) -> Sequence[ServedMethod]:
        """Return the methods of the service."""
        return (
            ServedMethod(f"/{SERVICE}/PutBackup", pb.PutBackupRequest, None, self.put, _about_put),
            ServedMethod(f"/{SERVICE}/GetBackup", pb.GetBackupRequest, None, self.get),
            ServedMethod(f"/{SERVICE}/ListBackups", pb.ListBackupsRequest, None, self.list),
            ServedMethod(
                f"/{SERVICE}/RemoveBackup", pb.RemoveBackupRequest, None, self.remove, _about_remove, _cost_of_remove
            ),
        )

    async def put(self, caller: Caller, request: pb.PutBackupRequest) -> pb.PutBackupResponse:
        """Carry out ``PutBackup``."""
        given, misread = mapping.to_backup(request.backup) if request.HasField("backup") else (None, ())
        return pb.PutBackupResponse(backup=mapping.backup(await self.catalog.put(caller, given, misread)))

    async def get(self, _: Caller, request: pb.GetBackupRequest) -> pb.GetBackupResponse:
        """Carry out ``GetBackup``."""
        return pb.GetBackupResponse(backup=mapping.backup(await self.catalog.get(request.backup_id)))

    async def list(self, _: Caller, request: pb.ListBackupsRequest) -> pb.ListBackupsResponse:
        """Carry out ``ListBackups``."""
        limit = request.limit if request.HasField("limit") else None
        page, token = await self.catalog.list(request.project_id, limit, request.page_token)
        response = pb.ListBackupsResponse(next_page_token=token)
        for number, item in enumerate(page.items, 1):
            response.backups.append(mapping.backup(item))
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # yield to other tasks: a whole page takes as long as many other calls
        return response

    async def remove(self, caller: Caller, request: pb.RemoveBackupRequest) -> pb.RemoveBackupResponse:
        """Carry out ``RemoveBackup``."""
        return pb.RemoveBackupResponse(shared=mapping.sharings(await self.catalog.remove(caller, request.backup_id)))


def _about_put(request: pb.PutBackupRequest) -> Mapping[str, object]:
    backup = request.backup
    return {"backup_id": shown(backup.id), "owner": shown(backup.project_id), "status": shown(backup.status)}


def _about_remove(request: pb.RemoveBackupRequest) -> Mapping[str, object]:
    return {"backup_id": shown(request.backup_id)}


def _cost_of_remove(_: pb.RemoveBackupRequest) -> int:
    return COST_OF_ALL
