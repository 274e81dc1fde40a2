"""What the log says of changes and refusals: who, what, to whom; and never a credential."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message

from backupsharing.v2 import backup_catalog_pb2 as catalog_pb
from backupsharing.v2 import backup_sharing_pb2 as pb
from server.rpc.pipeline import Pipeline
from tests.server.cast import BACKUP, GIVER, OTHER, RECIPIENT, REQUEST_ID, SECOND_BACKUP, UNKNOWN
from tests.server.doors import CANCEL, COUNT, PUT, SHARE, call, cancel_message, put_message, share_message

LogLines = Callable[[], list[dict[str, Any]]]

pytestmark = pytest.mark.usefixtures("store")


async def logged(pipeline: Pipeline, lines: LogLines, method: str, request: Message, token: str) -> dict[str, Any]:
    await pipeline.carry_out(call(method, request, token))
    assert all(token not in str(line) for line in lines() if token)
    return lines()[-1]


async def test_a_change_says_who_what_and_to_whom(pipeline: Pipeline, log_lines: LogLines) -> None:
    line = await logged(pipeline, log_lines, SHARE, share_message(RECIPIENT, OTHER), "giver-token")
    told = {
        name: line[name] for name in ("audit", "project_id", "user_id", "request_id", "backup_id", "to_project_ids")
    }
    assert told == {
        "audit": "change",
        "project_id": GIVER,
        "user_id": "gina",
        "request_id": REQUEST_ID,
        "backup_id": BACKUP,
        "to_project_ids": [RECIPIENT, OTHER],
    }


async def test_a_change_of_the_catalogue_says_which_backup(pipeline: Pipeline, log_lines: LogLines) -> None:
    line = await logged(pipeline, log_lines, PUT, put_message(), "service-token")
    assert (line["audit"], line["user_id"], "backup_id" in line) == ("change", "sam", True)
    remove = "/backupsharing.v2.BackupCatalogService/RemoveBackup"
    request = catalog_pb.RemoveBackupRequest(backup_id=SECOND_BACKUP)
    line = await logged(pipeline, log_lines, remove, request, "service-token")
    assert (line["audit"], line["backup_id"]) == ("change", SECOND_BACKUP)


async def test_cancelling_says_which_sharing_or_backup(pipeline: Pipeline, log_lines: LogLines) -> None:
    line = await logged(pipeline, log_lines, CANCEL, cancel_message(UNKNOWN), "giver-token")
    assert (line["audit"], line["reason"], line["sharing_id"]) == ("refused", "SHARING_NOT_FOUND", UNKNOWN)
    request = pb.CancelSharingRequest(project_id=GIVER, id=BACKUP, is_backup_id=True)
    line = await logged(pipeline, log_lines, CANCEL, request, "giver-token")
    assert (line["audit"], line["backup_id"]) == ("change", BACKUP)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "TOKEN_MISSING"),
        ("guess", "TOKEN_INVALID"),
        ("outsider-token", "PROJECT_FORBIDDEN"),
        ("roleless-token", "ROLE_MISSING"),
    ],
)
async def test_a_refusal_is_told_also_of_a_read(
    pipeline: Pipeline, log_lines: LogLines, token: str, reason: str
) -> None:
    line = await logged(pipeline, log_lines, COUNT, pb.CountSharingsRequest(project_id=GIVER), token)
    assert (line["audit"], line["reason"]) == ("refused", reason)


async def test_a_read_that_succeeds_is_no_matter_of_audit(pipeline: Pipeline, log_lines: LogLines) -> None:
    line = await logged(pipeline, log_lines, COUNT, pb.CountSharingsRequest(project_id=GIVER), "giver-token")
    assert "audit" not in line
