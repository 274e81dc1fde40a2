"""Shares a backup with two projects and cancels it again, over gRPC with generated stubs: see ../README.md."""

from __future__ import annotations

import os
import sys
import uuid

import grpc
from google.rpc import error_details_pb2, status_pb2

from backupsharing.v2 import backup_catalog_pb2, backup_catalog_pb2_grpc, backup_pb2
from backupsharing.v2 import backup_sharing_pb2 as sharing_pb2
from backupsharing.v2 import backup_sharing_pb2_grpc as sharing_pb2_grpc

DEADLINE = 10.0
"""Seconds. The server stores nothing later than one second before it."""

GIVER = os.environ["BACKUP_SHARING_PROJECT"]
RECIPIENT = os.environ["BACKUP_SHARING_RECIPIENT"]
OTHER = os.environ["BACKUP_SHARING_OTHER"]


def token(variable: str) -> list[tuple[str, str]]:
    """Whose call it is, as metadata."""
    return [("x-auth-token", os.environ[variable])]


def error_info(error: grpc.RpcError) -> error_details_pb2.ErrorInfo:
    """Read the reason of a failure, which is in its trailing metadata."""
    status, info = status_pb2.Status(), error_details_pb2.ErrorInfo()
    status.ParseFromString(dict(error.trailing_metadata()).get("grpc-status-details-bin", b""))
    for detail in status.details:
        if detail.Unpack(info):
            return info
    return info


def expect(seen: object, expected: object) -> None:
    """End with 1 where the service does anything else than what is expected."""
    if seen != expected:
        sys.exit(f"saw {seen!r}, expected {expected!r}")


def main() -> None:
    """Run the scenario, and print a line for each step."""
    as_service = token("BACKUP_SHARING_SERVICE_TOKEN")
    as_giver = token("BACKUP_SHARING_TOKEN")
    as_recipient = token("BACKUP_SHARING_RECIPIENT_TOKEN")
    run = f"python-{uuid.uuid4()}"
    backups = [str(uuid.uuid4()) for _ in range(3)]

    with grpc.insecure_channel(os.environ["BACKUP_SHARING_GRPC"]) as channel:
        catalog = backup_catalog_pb2_grpc.BackupCatalogServiceStub(channel)
        sharings = sharing_pb2_grpc.BackupSharingServiceStub(channel)

        for backup_id in backups:
            backup = backup_pb2.Backup(id=backup_id, name=run, status="available", project_id=GIVER)
            put = backup_catalog_pb2.PutBackupRequest(backup=backup)
            catalog.PutBackup(put, timeout=DEADLINE, metadata=as_service)
        print("put", backups[0])

        def share(backup_id: str, *recipients: str, key: str | None = None) -> sharing_pb2.ShareBackupResponse:
            request = sharing_pb2.ShareBackupRequest(
                project_id=GIVER,
                shared=sharing_pb2.BackupRecipients(backup_id=backup_id, to_project_ids=recipients),
                idempotency_key=key,
            )
            return sharings.ShareBackup(request, timeout=DEADLINE, metadata=as_giver)

        # With a key of its own, a call can be made again until an answer arrives: it counts once.
        given = share(backups[0], RECIPIENT, OTHER, key=str(uuid.uuid4())).shared
        for backup_id in backups[1:]:
            share(backup_id, RECIPIENT, key=str(uuid.uuid4()))
        expect([sharing.to_project_id for sharing in given], [RECIPIENT, OTHER])
        print("shared", len(given))

        try:
            share(backups[0], RECIPIENT)
            sys.exit("a backup was shared twice")
        except grpc.RpcError as error:
            expect(error.code(), grpc.StatusCode.ALREADY_EXISTS)
            info = error_info(error)
            print("conflict", info.reason, info.metadata["code"])

        listed, pages = [], 0
        request = sharing_pb2.ListSharingsRequest(project_id=RECIPIENT, share_to_me=True, name=run, limit=2)
        while pages == 0 or request.page_token:
            page = sharings.ListSharings(request, timeout=DEADLINE, metadata=as_recipient)
            listed += page.shared
            pages += 1
            request.page_token = page.next_page_token
        expect({sharing.backup_id for sharing in listed}, set(backups))
        print("listed", len(listed), "in", pages, "pages")

        cancel = sharing_pb2.CancelSharingRequest(project_id=GIVER, id=given[0].id)
        ended = sharings.CancelSharing(cancel, timeout=DEADLINE, metadata=as_giver).shared
        expect([sharing.deleted for sharing in ended], ["true"])
        print("cancelled", len(ended))

        try:
            get = sharing_pb2.GetSharingRequest(project_id=GIVER, id=given[0].id)
            sharings.GetSharing(get, timeout=DEADLINE, metadata=as_giver)
            sys.exit("a cancelled sharing is still there")
        except grpc.RpcError as error:
            expect(error.code(), grpc.StatusCode.NOT_FOUND)
            print("gone", error_info(error).reason)


if __name__ == "__main__":
    try:
        main()
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
