"""A share, a list, an error and a cancel with the client that openapi-generator generates for Python."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable

from openapi_client import (
    ApiClient,
    ApiException,
    BackupRecipients,
    BackupSharingServiceApi,
    Configuration,
    ErrorResponse,
    ShareBackupRequest,
)

given = {name: os.environ[f"BACKUP_SHARING_{name}"] for name in ("REST", "PROJECT", "TOKEN", "RECIPIENT", "OTHER")}
project, backup = given["PROJECT"], uuid.UUID(os.environ["BACKUP_SHARING_BACKUP"])
settings = Configuration(host=given["REST"], api_key={"token": given["TOKEN"]})
api = BackupSharingServiceApi(ApiClient(settings))


def failure(call: Callable[..., object], *arguments: object) -> None:
    """Print the failure of a call."""
    try:
        call(*arguments)
    except ApiException as error:
        body = ErrorResponse.from_json(error.body)
        print(error.status, body.error.code)


recipients = BackupRecipients(to_project_ids=[given["RECIPIENT"], given["OTHER"]], backup_id=backup)
request = ShareBackupRequest(shared=recipients)
shared = api.backup_sharing_service_share_backup(project, request)
first = shared.shared[0]
assert (first.to_project_id, first.deleted, len(first.created_at)) == (given["RECIPIENT"], None, 26)
print("shared", len(shared.shared))
failure(api.backup_sharing_service_share_backup, project, request)

listed = api.backup_sharing_service_list_sharings(project, backup_id=backup, limit=10, sort_key="created_at")
assert {(one.backup.id, one.backup.size) for one in listed.shared} == {(backup, 40)}
print("listed", len(listed.shared))

api.backup_sharing_service_cancel_sharing(project, first.id)
failure(api.backup_sharing_service_get_sharing, project, first.id)
