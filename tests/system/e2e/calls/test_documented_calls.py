"""The five calls with the documented bodies, over REST and over gRPC."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import grpc
import pytest
import pytest_asyncio
from google.protobuf import json_format

from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2.backup_catalog_pb2 import PutBackupRequest, RemoveBackupRequest
from backupsharing.v2.backup_pb2 import Backup
from tests.support.rest import Rest, assert_failure, assert_success, example
from tests.support.system import ADMIN_TOKEN, DOCUMENTED_GIVER, READER_TOKEN, SERVICE_TOKEN, Project, System
from tests.support.wire import Answer, Json

ENGINES = ("sqlite", "postgres")

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")
CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
EXAMPLE_BACKUP = example("get.response")["shared"]["backup"]
PATH = f"/v2/{DOCUMENTED_GIVER}/os-vendor-backup-sharing"
TOKEN = f"member-{DOCUMENTED_GIVER}"
SERVICE = [("x-auth-token", SERVICE_TOKEN)]


def put_example_backup(system: System, **members: object) -> None:
    given = {name: value for name, value in EXAMPLE_BACKUP.items() if value is not None}
    times = {name: f"{given[name]}Z" for name in ("created_at", "data_timestamp", "updated_at")}
    whole = {**given, **times, "project_id": DOCUMENTED_GIVER, **members}
    request = PutBackupRequest(backup=json_format.ParseDict(whole, Backup()))
    system.catalog.PutBackup(request, metadata=SERVICE)


@pytest_asyncio.fixture
async def shared(system: System) -> Answer:
    """Send the documented share request after cancelling earlier sharings; return the response."""
    put_example_backup(system)
    await system.rest.call("DELETE", f"{PATH}/{EXAMPLE_BACKUP['id']}?is_backup_id=true", token=TOKEN)
    body = json.dumps(example("share.request")) + "\n"
    return await system.rest.call("POST", PATH, token=TOKEN, body=body, headers={"Accept": "application/json"})


def entry(answer: Answer, index: int = 0) -> Json:
    found: Json = assert_success(answer)["shared"][index]
    return found


async def test_sharing_answers_the_documented_entries_in_order(
    shared: Answer,
) -> None:
    body = assert_success(shared)
    expected = [
        {
            **example("share.response")["shared"][0],
            "to_project_id": to,
            "id": given["id"],
            "created_at": given["created_at"],
        }
        for to, given in zip(example("share.request")["shared"]["to_project_ids"], body["shared"], strict=True)
    ]
    assert json.dumps(body) == json.dumps({"shared": expected})


async def test_sharing_answers_a_fresh_canonical_id_for_each_recipient(shared: Answer) -> None:
    ids = [given["id"] for given in assert_success(shared)["shared"]]
    assert all(CANONICAL_UUID.fullmatch(given) for given in ids)
    assert len(set(ids)) == 2


async def test_sharing_answers_its_time_in_utc_without_an_offset(system: System) -> None:
    giver = system.new_project()
    backup_id = system.put_backup(giver)
    before = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    answer = await system.share(giver, backup_id, "recipient")
    after = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    created_at = entry(answer)["created_at"]
    assert TIME.fullmatch(created_at)
    assert before <= created_at <= after


async def test_get_answers_the_documented_body(rest: Rest, shared: Answer) -> None:
    given = entry(shared)
    answer = await rest.call("GET", f"{PATH}/{given['id']}", token=TOKEN)
    expected = example("get.response")
    expected["shared"] |= {"id": given["id"], "created_at": given["created_at"]}
    assert json.dumps(assert_success(answer)) == json.dumps(expected)


async def test_list_answers_the_documented_members_in_their_order(rest: Rest, shared: Answer) -> None:
    answer = await rest.call("GET", f"{PATH}/detail", token=TOKEN)
    body, documented = assert_success(answer), example("list.response")
    assert list(body) == ["shared"]
    assert [list(item) for item in body["shared"]] == [list(item) for item in documented["shared"]]
    assert [list(item["backup"]) for item in body["shared"]] == [list(item["backup"]) for item in documented["shared"]]
    assert {item["id"] for item in body["shared"]} == {item["id"] for item in shared.json["shared"]}


async def test_count_answers_the_documented_body(rest: Rest, shared: Answer) -> None:
    assert shared.status == 200
    answer = await rest.call("GET", f"{PATH}/count", token=TOKEN)
    assert json.dumps(assert_success(answer)) == json.dumps(example("count.response"))


@pytest.mark.parametrize("which", ["sharing", "backup"])
async def test_cancelling_answers_200_without_body_or_content_type(rest: Rest, shared: Answer, which: str) -> None:
    targets = {"sharing": entry(shared)["id"], "backup": f"{EXAMPLE_BACKUP['id']}?is_backup_id=true"}
    answer = await rest.call("DELETE", f"{PATH}/{targets[which]}", token=TOKEN)
    assert (answer.status, answer.body) == (200, b"")
    assert "Content-Type" not in answer.headers
    assert answer.request_id


async def test_numbers_a_backup_lacks_are_null_others_are_integers(system: System, giver: Project) -> None:
    bare, full = system.put_backup(giver), system.put_backup(giver, size=7, object_count=0, is_incremental=False)
    for backup_id in (bare, full):
        assert_success(await system.share(giver, backup_id, "recipient"))
    listed = assert_success(await system.list(giver, "sort_key=size&sort_dir=asc"))["shared"]
    shown = [json.dumps({name: item["backup"][name] for name in ("size", "object_count", "is_incremental")})
             for item in listed]  # fmt: skip
    assert shown == [
        '{"size": 7, "object_count": 0, "is_incremental": false}',
        '{"size": null, "object_count": null, "is_incremental": null}',
    ]


async def test_a_cancelled_sharing_is_not_found_any_more(rest: Rest, shared: Answer) -> None:
    target = f"{PATH}/{entry(shared)['id']}"
    await rest.call("DELETE", target, token=TOKEN)
    for method in ("GET", "DELETE"):
        assert_failure(await rest.call(method, target, token=TOKEN), 404, "VolumeBackup.0043", entry(shared)["id"])


async def test_a_backup_with_cancelled_sharings_has_an_empty_list(system: System, shared: Answer) -> None:
    assert shared.status == 200
    await system.rest.call("DELETE", f"{PATH}/{EXAMPLE_BACKUP['id']}?is_backup_id=true", token=TOKEN)
    answer = await system.list(system.documented_giver, f"backup_id={EXAMPLE_BACKUP['id']}")
    assert assert_success(answer) == {"shared": []}
    assert await system.count(system.documented_giver) == 0


async def test_cancelling_all_of_a_backup_without_sharings_succeeds(rest: Rest, giver: Project, backup_id: str) -> None:
    answer = await rest.call("DELETE", f"{giver.path}/{backup_id}?is_backup_id=true", token=giver.token)
    assert answer.status == 200


async def test_after_a_cancel_a_new_sharing_is_made_the_old_row_stays(
    system: System, giver: Project, backup_id: str
) -> None:
    first = entry(await system.share(giver, backup_id, "recipient"))
    await system.rest.call("DELETE", f"{giver.path}/{first['id']}", token=giver.token)
    second = entry(await system.share(giver, backup_id, "recipient"))
    rows = system.rows(backup_id)
    assert [row[0] for row in rows] == [first["id"], second["id"]]
    assert [deleted_at is None for _, _, deleted_at in rows] == [False, True]


async def test_ids_are_taken_in_upper_case_and_answered_in_lower(system: System, giver: Project) -> None:
    backup_id = system.put_backup(giver, id="ABCDEF00-0000-4000-8000-00000000000A")
    given = entry(await system.share(giver, backup_id, "recipient"))
    assert given["backup_id"] == backup_id.lower()
    answer = await system.rest.call("GET", f"{giver.path}/{given['id'].upper()}", token=giver.token)
    assert entry_of(answer)["id"] == given["id"]
    assert await system.count(giver, f"backup_id={backup_id}") == 1


def entry_of(answer: Answer) -> Json:
    found: Json = assert_success(answer)["shared"]
    return found


async def test_giver_and_recipient_see_a_sharing_the_giver_cancels_it(
    system: System, giver: Project, recipient: Project, backup_id: str
) -> None:
    sharing_id = entry(await system.share(giver, backup_id, recipient.id))["id"]
    outsider = system.new_project()
    for method in ("GET", "DELETE"):
        answer = await system.rest.call(method, f"{outsider.path}/{sharing_id}", token=outsider.token)
        assert_failure(answer, 404, "VolumeBackup.0043")
    assert_success(await system.rest.call("GET", f"{recipient.path}/{sharing_id}", token=recipient.token))
    answer = await system.rest.call("DELETE", f"{recipient.path}/{sharing_id}", token=recipient.token)
    assert_failure(answer, 403, "VolumeBackup.0042")
    assert_success(await system.rest.call("GET", f"{giver.path}/{sharing_id}", token=giver.token))


async def test_foreign_and_missing_backups_get_the_same_answer(
    system: System, giver: Project, recipient: Project, backup_id: str
) -> None:
    unknown = "00000000-0000-4000-8000-00000000dead"
    said = []
    for wanted in (backup_id, unknown):
        answer = await system.share(recipient, wanted, "somebody")
        assert_failure(answer, 404, "VolumeBackup.0110", wanted)
        said.append(answer.error["message"].replace(wanted, "ID"))
    assert said[0] == said[1]
    assert giver.id not in said[0]


async def test_a_reader_lists_counts_and_gets_but_does_not_change(rest: Rest, shared: Answer) -> None:
    target = f"{PATH}/{entry(shared)['id']}"
    for path in (f"{PATH}/detail", f"{PATH}/count", target):
        assert_success(await rest.call("GET", path, token=READER_TOKEN))
    assert_failure(await rest.call("DELETE", target, token=READER_TOKEN), 403, "VolumeBackup.0042", "'member'")
    answer = await rest.call("POST", PATH, token=READER_TOKEN, body=example("share.request"))
    assert_failure(answer, 403, "VolumeBackup.0042", "'member'")


async def test_an_administrator_acts_for_any_project(rest: Rest, giver: Project, backup_id: str) -> None:
    body = {"shared": {"to_project_ids": ["recipient"], "backup_id": backup_id}}
    assert_success(await rest.call("POST", giver.path, token=ADMIN_TOKEN, body=body))
    answer = await rest.call("GET", f"{giver.path}/count", token=ADMIN_TOKEN)
    assert assert_success(answer) == {"count": 1}


async def test_a_bearer_token_is_as_good(rest: Rest, idle: Project) -> None:
    answer = await rest.call("GET", f"{idle.path}/count", headers={"Authorization": f"Bearer {idle.token}"})
    assert assert_success(answer) == {"count": 0}


async def test_removing_a_backup_from_the_catalogue_ends_its_sharings(
    system: System, giver: Project, backup_id: str
) -> None:
    sharing_id = entry(await system.share(giver, backup_id, "recipient"))["id"]
    ended = system.catalog.RemoveBackup(RemoveBackupRequest(backup_id=backup_id), metadata=SERVICE).shared
    assert [(sharing.id, sharing.deleted) for sharing in ended] == [(sharing_id, "true")]
    answer = await system.rest.call("GET", f"{giver.path}/{sharing_id}", token=giver.token)
    assert_failure(answer, 404, "VolumeBackup.0043")


async def test_a_change_of_a_backups_status_leaves_its_sharings(system: System, giver: Project, backup_id: str) -> None:
    assert_success(await system.share(giver, backup_id, "recipient"))
    system.put_backup(giver, id=backup_id, status="error")
    (item,) = assert_success(await system.list(giver))["shared"]
    assert item["backup"]["status"] == "error"


async def test_a_change_of_a_backups_owner_is_refused(system: System, recipient: Project, backup_id: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        system.put_backup(recipient, id=backup_id)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION  # type: ignore[attr-defined]


async def test_what_was_shared_over_grpc_is_what_rest_answers(
    system: System, giver: Project, recipient: Project, backup_id: str
) -> None:
    request = pb.ShareBackupRequest(
        project_id=giver.id, shared=pb.BackupRecipients(backup_id=backup_id, to_project_ids=[recipient.id])
    )
    (sharing,) = system.sharings.ShareBackup(request, metadata=[("x-auth-token", giver.token)]).shared
    shown = entry_of(await system.rest.call("GET", f"{giver.path}/{sharing.id}", token=giver.token))
    assert shown["created_at"] == sharing.created_at.ToDatetime().isoformat(timespec="microseconds")
    assert (shown["id"], shown["backup_id"], shown["from_project_id"], shown["to_project_id"], shown["updated_at"]) == (
        sharing.id, backup_id, giver.id, recipient.id, None
    )  # fmt: skip
    assert not sharing.HasField("deleted")


async def test_cancelling_over_grpc_answers_all_ended_at_one_instant(
    system: System, giver: Project, backup_id: str
) -> None:
    answer = await system.share(giver, backup_id, "recipient", "another")
    metadata = [("x-auth-token", giver.token)]
    request = pb.CancelSharingRequest(project_id=giver.id, id=backup_id, is_backup_id=True)
    ended = system.sharings.CancelSharing(request, metadata=metadata).shared
    assert [sharing.id for sharing in ended] == sorted(item["id"] for item in answer.json["shared"])
    assert {sharing.deleted for sharing in ended} == {"true"}
    assert all(sharing.deleted_at == sharing.updated_at for sharing in ended)
    assert len({sharing.deleted_at.ToNanoseconds() for sharing in ended}) == 1
