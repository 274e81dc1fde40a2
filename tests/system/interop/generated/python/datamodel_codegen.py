"""A share, a list, an error and a cancel with the models that datamodel-codegen generates."""

from __future__ import annotations

import os
import uuid

import httpx
from models import BackupRecipients, ErrorResponse, ListSharingsResponse, ShareBackupRequest, ShareBackupResponse

given = {name: os.environ[f"BACKUP_SHARING_{name}"] for name in ("REST", "PROJECT", "TOKEN", "RECIPIENT", "OTHER")}
backup = uuid.UUID(os.environ["BACKUP_SHARING_BACKUP"])
path = f"/v2/{given['PROJECT']}/os-vendor-backup-sharing"
client = httpx.Client(base_url=given["REST"], headers={"X-Auth-Token": given["TOKEN"]})

recipients = BackupRecipients(to_project_ids=[given["RECIPIENT"], given["OTHER"]], backup_id=backup)
request = ShareBackupRequest(shared=recipients).model_dump(mode="json")
shared = ShareBackupResponse.model_validate_json(client.post(path, json=request).content)
first = shared.shared[0]
assert (first.to_project_id, first.deleted, len(first.created_at)) == (given["RECIPIENT"], None, 26)
print("shared", len(shared.shared))

again = client.post(path, json=request)
print(again.status_code, ErrorResponse.model_validate_json(again.content).error.code)

query = {"backup_id": str(backup), "limit": 10, "sort_key": "created_at"}
listed = ListSharingsResponse.model_validate_json(client.get(f"{path}/detail", params=query).content)
assert {(one.backup.id, one.backup.size) for one in listed.shared} == {(backup, 40)}
print("listed", len(listed.shared))

assert client.delete(f"{path}/{first.id}").status_code == 200
gone = client.get(f"{path}/{first.id}")
print(gone.status_code, ErrorResponse.model_validate_json(gone.content).error.code)
