"""Log lines of changes and refusals name caller, change and recipients, and never contain a credential."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message

from backup_sharing.identity.interface import Peer
from backup_sharing.identity.static import StaticTokens, digest
from backup_sharing.logs import MOST_BYTES
from backup_sharing.model import Principal
from backup_sharing.rpc.audit import outcome_of_change
from backup_sharing.rpc.pipeline import Pipeline, ServedMethod
from backup_sharing.usecases.sharing import Caller
from backupsharing.v2 import backup_catalog_pb2 as catalog_pb
from backupsharing.v2 import backup_sharing_pb2 as pb
from tests.server.calls import CANCEL, COUNT, PUT, SHARE, call, cancel_message, put_message, share_message
from tests.server.identities import BACKUP, GIVER, OTHER, RECIPIENT, REQUEST_ID, SECOND_BACKUP, UNKNOWN, projects

REMOVE = "/backupsharing.v2.BackupCatalogService/RemoveBackup"

LogLines = Callable[[], list[dict[str, Any]]]

pytestmark = pytest.mark.usefixtures("store")


async def logged(pipeline: Pipeline, lines: LogLines, method: str, request: Message, token: str) -> dict[str, Any]:
    await pipeline.carry_out(call(method, request, token))
    assert all(token not in str(line) for line in lines() if token)
    return lines()[-1]


async def test_a_change_says_who_what_and_to_whom(pipeline: Pipeline, log_lines: LogLines) -> None:
    line = await logged(pipeline, log_lines, SHARE, share_message(RECIPIENT, OTHER), "giver-token")
    reported = {
        name: line[name] for name in ("audit", "project_id", "user_id", "request_id", "backup_id", "to_project_ids")
    }
    assert reported == {
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
    request = catalog_pb.RemoveBackupRequest(backup_id=SECOND_BACKUP)
    line = await logged(pipeline, log_lines, REMOVE, request, "service-token")
    assert (line["audit"], line["backup_id"]) == ("change", SECOND_BACKUP)


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        ("OK", "", "change"),
        ("NOT_FOUND", "SHARING_NOT_FOUND", "refused"),
        ("DEADLINE_EXCEEDED", "DEADLINE_TOO_CLOSE", "refused"),
        ("UNAVAILABLE", "OUTCOME_UNKNOWN", "unknown"),
        ("INTERNAL", "INTERNAL", "unknown"),
        ("CANCELLED", "", "unknown"),
    ],
)
def test_a_change_that_may_be_stored_is_audited_as_unknown(code: str, reason: str, expected: str) -> None:
    assert outcome_of_change(code, reason) == expected


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


async def test_very_many_recipients_are_counted_and_the_first_named(pipeline: Pipeline, log_lines: LogLines) -> None:
    many = projects(100_000)
    line = await logged(pipeline, log_lines, SHARE, share_message(*many), "giver-token")
    assert (line["audit"], line["recipients"], line["to_project_ids"]) == ("refused", 100_000, many[:20])
    assert len(json.dumps(line)) < MOST_BYTES


@pytest.mark.parametrize("value", ["x" * 1_000_000, "a\nb\x1b[31m", "\U0001f4be" * 1000, "\u202e" * 10])
async def test_values_of_a_request_are_shortened_and_printable(
    pipeline: Pipeline, log_lines: LogLines, value: str
) -> None:
    requests = (
        (SHARE, share_message(value, of=value), "giver-token", ("backup_id",)),
        (CANCEL, cancel_message(value), "giver-token", ("sharing_id",)),
        (CANCEL, pb.CancelSharingRequest(project_id=GIVER, id=value, is_backup_id=True), "giver-token", ("backup_id",)),
        (PUT, put_message(id=value, project_id=value, status=value), "service-token", ("backup_id", "owner", "status")),
        (REMOVE, catalog_pb.RemoveBackupRequest(backup_id=value), "service-token", ("backup_id",)),
    )
    for method, request, token, names in requests:
        line = await logged(pipeline, log_lines, method, request, token)
        for text in (*(line[name] for name in names), *line.get("to_project_ids", ())):
            assert len(text) <= 64
            assert text.isprintable()
        assert len(json.dumps(line)) < 2000


async def test_names_of_the_caller_are_shortened_and_printable(log_lines: LogLines) -> None:
    long = "u" * 100_000
    known = StaticTokens({digest("t"): (Principal(long, frozenset({"reader"}), long), None)}, lambda: 0)

    async def handle(_: Caller, __: object) -> Message:
        return pb.CountSharingsResponse()

    method = ServedMethod(COUNT, pb.CountSharingsRequest, lambda request: request.project_id, handle)
    metadata = {"x-auth-token": "t", "x-forwarded-for": "\x1b[31m" + "9" * 100_000}
    made = Pipeline([method], known, 1.0, lambda: REQUEST_ID)
    await made.carry_out(call(COUNT, pb.CountSharingsRequest(project_id=long), metadata=metadata, peer=Peer("unix:")))
    line = log_lines()[-1]
    assert len(json.dumps(line)) < 2000
    assert all(line[name].isprintable() for name in ("project_id", "user_id", "client"))
