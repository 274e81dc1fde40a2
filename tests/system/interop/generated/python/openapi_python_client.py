"""A share, a list, an error and a cancel with the client that openapi-python-client generates."""

from __future__ import annotations

import os
import uuid

from rest.api.backup_sharing_service import backup_sharing_service_cancel_sharing as cancel
from rest.api.backup_sharing_service import backup_sharing_service_get_sharing as get
from rest.api.backup_sharing_service import backup_sharing_service_list_sharings as list_sharings
from rest.api.backup_sharing_service import backup_sharing_service_share_backup as share
from rest.client import AuthenticatedClient
from rest.models import (
    BackupRecipients,
    BackupSharingServiceListSharingsSortKey,
    ErrorResponse,
    ListSharingsResponse,
    ShareBackupRequest,
    ShareBackupResponse,
)

given = {name: os.environ[f"BACKUP_SHARING_{name}"] for name in ("REST", "PROJECT", "TOKEN", "RECIPIENT", "OTHER")}
project, backup = given["PROJECT"], uuid.UUID(os.environ["BACKUP_SHARING_BACKUP"])
client = AuthenticatedClient(given["REST"], given["TOKEN"], prefix="", auth_header_name="X-Auth-Token")

request = ShareBackupRequest(BackupRecipients([given["RECIPIENT"], given["OTHER"]], backup))
shared = share.sync(project, client=client, body=request)
assert isinstance(shared, ShareBackupResponse)
first = shared.shared[0]
assert (first.to_project_id, first.deleted, len(first.created_at)) == (given["RECIPIENT"], None, 26)
print("shared", len(shared.shared))

again = share.sync_detailed(project, client=client, body=request)
assert isinstance(again.parsed, ErrorResponse)
print(again.status_code.value, again.parsed.error.code)

key = BackupSharingServiceListSharingsSortKey.CREATED_AT
listed = list_sharings.sync(project, client=client, backup_id=backup, limit=10, sort_key=key)
assert isinstance(listed, ListSharingsResponse)
assert {(one.backup.id, one.backup.size) for one in listed.shared} == {(backup, 40)}
print("listed", len(listed.shared))

assert cancel.sync_detailed(project, first.id, client=client).status_code == 200
gone = get.sync_detailed(project, first.id, client=client)
assert isinstance(gone.parsed, ErrorResponse)
print(gone.status_code.value, gone.parsed.error.code)
