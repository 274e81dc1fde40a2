"""Share backups over gRPC with generated stubs, and cancel a sharing: see ../README.md."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Sequence

import grpc
from google.rpc import error_details_pb2, status_pb2

from backupsharing.v2 import (
    backup_access_pb2,
    backup_access_pb2_grpc,
    backup_catalog_pb2,
    backup_catalog_pb2_grpc,
    backup_pb2,
    sharing_pb2,
)
from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2 import backup_sharing_pb2_grpc as rpc

DEADLINE = 10.0
"""Seconds for a call. The server stores nothing in the last second before the deadline."""

GIVER = os.environ["BACKUP_SHARING_PROJECT"]
RECIPIENT = os.environ["BACKUP_SHARING_RECIPIENT"]
OTHER = os.environ["BACKUP_SHARING_OTHER"]

# The token in the metadata identifies the caller.
AS_SERVICE = [("x-auth-token", os.environ["BACKUP_SHARING_SERVICE_TOKEN"])]
AS_GIVER = [("x-auth-token", os.environ["BACKUP_SHARING_TOKEN"])]
AS_RECIPIENT = [("x-auth-token", os.environ["BACKUP_SHARING_RECIPIENT_TOKEN"])]


def put(catalog: backup_catalog_pb2_grpc.BackupCatalogServiceStub, backup_id: str, name: str) -> None:
    """Put a backup into the catalogue."""
    backup = backup_pb2.Backup(id=backup_id, name=name, status="available", project_id=GIVER)
    catalog.PutBackup(backup_catalog_pb2.PutBackupRequest(backup=backup), timeout=DEADLINE, metadata=AS_SERVICE)


def share(
    sharings: rpc.BackupSharingServiceStub, backup_id: str, *recipients: str, key: str | None = None
) -> Sequence[sharing_pb2.Sharing]:
    """Share a backup. A call with an idempotency key can be retried safely: it is carried out only once."""
    shared = pb.BackupRecipients(backup_id=backup_id, to_project_ids=recipients)
    request = pb.ShareBackupRequest(project_id=GIVER, shared=shared, idempotency_key=key)
    return sharings.ShareBackup(request, timeout=DEADLINE, metadata=AS_GIVER).shared


def received(sharings: rpc.BackupSharingServiceStub, name: str) -> list[Sequence[sharing_pb2.SharingDetail]]:
    """List the sharings that the recipient received, page by page."""
    request = pb.ListSharingsRequest(project_id=RECIPIENT, share_to_me=True, name=name, limit=2)
    pages = []
    while not pages or request.page_token:
        answer = sharings.ListSharings(request, timeout=DEADLINE, metadata=AS_RECIPIENT)
        pages.append(answer.shared)
        request.page_token = answer.next_page_token
    return pages


def check(
    access: backup_access_pb2_grpc.BackupAccessServiceStub, backup_id: str
) -> backup_access_pb2.CheckAccessResponse:
    """Ask whether the recipient may read a backup."""
    request = backup_access_pb2.CheckAccessRequest(backup_id=backup_id, project_id=RECIPIENT)
    return access.CheckAccess(request, timeout=DEADLINE, metadata=AS_RECIPIENT)


def first_event(
    access: backup_access_pb2_grpc.BackupAccessServiceStub, backup_id: str, cursor: str
) -> backup_access_pb2.SharingEvent:
    """Watch a backup, as the recipient, until its first event after a cursor."""
    request = backup_access_pb2.WatchSharingsRequest(project_id=RECIPIENT, backup_id=backup_id, cursor=cursor)
    stream = access.WatchSharings(request, timeout=DEADLINE, metadata=AS_RECIPIENT)
    for response in stream:
        # A response without an event only tells how far the watch has come.
        if response.HasField("event"):
            stream.cancel()
            return response.event
    sys.exit("the watch ended without an event")


def refused(code: grpc.StatusCode, call: Callable[[], object]) -> error_details_pb2.ErrorInfo:
    """Make a call that must fail, and return the `ErrorInfo` from its trailing metadata."""
    try:
        call()
    except grpc.RpcError as error:
        expect(error.code(), code)
        status, info = status_pb2.Status(), error_details_pb2.ErrorInfo()
        status.ParseFromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
        expect([detail.Unpack(info) for detail in status.details].count(True), 1)
        return info
    sys.exit(f"a call succeeded, expected {code}")


def expect(seen: object, expected: object) -> None:
    """Exit with 1 if the value is not the expected one."""
    if seen != expected:
        sys.exit(f"saw {seen!r}, expected {expected!r}")


def main(channel: grpc.Channel) -> None:
    """Run all steps, and print a line for each."""
    catalog = backup_catalog_pb2_grpc.BackupCatalogServiceStub(channel)
    sharings = rpc.BackupSharingServiceStub(channel)
    access = backup_access_pb2_grpc.BackupAccessServiceStub(channel)
    name = f"python-{uuid.uuid4()}"
    first, *others = backups = [str(uuid.uuid4()) for _ in range(3)]

    for backup_id in backups:
        put(catalog, backup_id, name)
    print("put", first)

    given = share(sharings, first, RECIPIENT, OTHER, key=str(uuid.uuid4()))
    expect([sharing.to_project_id for sharing in given], [RECIPIENT, OTHER])
    for backup_id in others:
        share(sharings, backup_id, RECIPIENT, key=str(uuid.uuid4()))
    print("shared", len(given))

    conflict = refused(grpc.StatusCode.ALREADY_EXISTS, lambda: share(sharings, first, RECIPIENT))
    print("conflict", conflict.reason, conflict.metadata["code"])

    pages = received(sharings, name)
    expect({sharing.backup_id for page in pages for sharing in page}, set(backups))
    print("listed", sum(map(len, pages)), "in", len(pages), "pages")

    checked = check(access, first)
    expect(checked.sharing_id, given[0].id)
    print("checked", "yes" if checked.allowed else "no")

    cancel = pb.CancelSharingRequest(project_id=GIVER, id=given[0].id)
    ended = sharings.CancelSharing(cancel, timeout=DEADLINE, metadata=AS_GIVER).shared
    expect([sharing.deleted for sharing in ended], ["true"])
    print("cancelled", len(ended))

    get = pb.GetSharingRequest(project_id=GIVER, id=given[0].id)
    gone = refused(grpc.StatusCode.NOT_FOUND, lambda: sharings.GetSharing(get, timeout=DEADLINE, metadata=AS_GIVER))
    print("gone", gone.reason)

    event = first_event(access, first, checked.cursor)
    expect(event.sharing_id, given[0].id)
    print("watched", event.kind)


if __name__ == "__main__":
    try:
        with grpc.insecure_channel(os.environ["BACKUP_SHARING_GRPC"]) as channel:
            main(channel)
    except grpc.RpcError as error:
        sys.exit(f"{error.code().name}: {error.details()}")
