"""The header ``Idempotency-Key``, which makes retries safe."""

from __future__ import annotations

import asyncio

import pytest

from backupsharing.v2 import backup_sharing_pb2 as pb
from tests.support.rest import assert_failure, assert_success
from tests.support.system import Project, System

ENGINES = ("sqlite", "postgres")

KEY = "a-key/of:1"
REUSED = "BackupSharing.0003"


async def test_the_same_key_with_another_body_is_a_conflict(system: System, giver: Project, backup_id: str) -> None:
    assert_success(await system.share(giver, backup_id, "one", Idempotency_Key=KEY))
    for recipients in (["two"], ["one", "two"]):
        answer = await system.share(giver, backup_id, *recipients, Idempotency_Key=KEY)
        assert_failure(answer, 409, REUSED, "idempotency key")
    other = system.put_backup(giver)
    assert_failure(await system.share(giver, other, "one", Idempotency_Key=KEY), 409, REUSED)
    assert await system.count(giver) == 1


async def test_a_reused_key_is_found_before_the_state_of_the_backup(
    system: System, giver: Project, backup_id: str
) -> None:
    assert_success(await system.share(giver, backup_id, "one", Idempotency_Key=KEY))
    creating = system.put_backup(giver, status="creating")
    assert_failure(await system.share(giver, creating, "one", Idempotency_Key=KEY), 409, REUSED)


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "caf\u00e9", "\udcff", "a\tb"])
async def test_a_key_that_is_none_is_400_and_stores_nothing(
    system: System, giver: Project, backup_id: str, key: str
) -> None:
    answer = await system.share(giver, backup_id, "recipient", Idempotency_Key=key)
    assert_failure(answer, 400, "VolumeBackup.0002")
    assert system.rows(backup_id) == []


async def test_two_keys_are_400(system: System, giver: Project, backup_id: str) -> None:
    body = {"shared": {"to_project_ids": ["recipient"], "backup_id": backup_id}}
    headers = [("Idempotency-Key", "one"), ("idempotency-key", "one")]
    answer = await system.rest.call("POST", giver.path, token=giver.token, body=body, headers=headers)
    assert_failure(answer, 400, "VolumeBackup.0002", "Idempotency-Key")
    assert system.rows(backup_id) == []


async def test_a_failure_is_not_kept(system: System, giver: Project) -> None:
    backup_id = system.put_backup(giver, status="creating")
    assert_failure(await system.share(giver, backup_id, "one", Idempotency_Key=KEY), 400, "VolumeBackup.0089")
    system.put_backup(giver, id=backup_id)
    assert_success(await system.share(giver, backup_id, "one", Idempotency_Key=KEY))


@pytest.mark.parametrize("key", ["!", "~" * 255, '"quoted"', "0"])
async def test_the_same_key_and_body_give_the_first_answer_again(
    system: System, giver: Project, backup_id: str, key: str
) -> None:
    first = await system.share(giver, backup_id, "one", "two", Idempotency_Key=key)
    second = await system.share(giver, backup_id, "one", "two", Idempotency_Key=key)
    assert_success(first)
    assert (second.status, second.body) == (200, first.body)
    assert len(system.rows(backup_id)) == 2


async def test_the_spelling_of_a_body_makes_no_difference(system: System, giver: Project, backup_id: str) -> None:
    first = await system.share(giver, backup_id, "one", Idempotency_Key=KEY)
    body = f'{{"shared":\n{{"backup_id":"{backup_id.upper()}","to_project_ids":["on\\u0065"]}}}}'
    headers = {"Idempotency-Key": KEY}
    second = await system.rest.call("POST", giver.path, token=giver.token, body=body, headers=headers)
    assert (second.status, second.body) == (200, first.body)


async def test_the_first_answer_is_repeated_after_a_cancel(system: System, giver: Project, backup_id: str) -> None:
    first = await system.share(giver, backup_id, "one", Idempotency_Key=KEY)
    target = f"{giver.path}/{backup_id}?is_backup_id=true"
    assert (await system.rest.call("DELETE", target, token=giver.token)).status == 200
    system.put_backup(giver, id=backup_id, status="error")
    second = await system.share(giver, backup_id, "one", Idempotency_Key=KEY)
    assert (second.status, second.body) == (200, first.body)
    assert await system.count(giver) == 0


async def test_a_key_belongs_to_a_project_and_a_call(
    system: System, giver: Project, recipient: Project, backup_id: str
) -> None:
    other = system.put_backup(recipient)
    assert_success(await system.share(giver, backup_id, "one", Idempotency_Key=KEY))
    assert_success(await system.share(recipient, other, "one", Idempotency_Key=KEY))
    target, headers = f"{giver.path}/{backup_id}?is_backup_id=true", {"Idempotency-Key": KEY}
    assert (await system.rest.call("DELETE", target, token=giver.token, headers=headers)).status == 200
    assert await system.count(giver) == 0
    assert await system.count(recipient) == 1


async def test_a_cancel_with_a_key_can_be_repeated(system: System, giver: Project, backup_id: str) -> None:
    sharing_id = assert_success(await system.share(giver, backup_id, "one"))["shared"][0]["id"]
    target = f"{giver.path}/{sharing_id}"
    for _ in range(2):
        answer = await system.rest.call("DELETE", target, token=giver.token, headers={"Idempotency-Key": KEY})
        assert (answer.status, answer.body) == (200, b"")
    assert_failure(await system.rest.call("DELETE", target, token=giver.token), 404, "VolumeBackup.0043")


async def test_a_key_means_the_same_over_rest_and_over_grpc(system: System, giver: Project, backup_id: str) -> None:
    first = assert_success(await system.share(giver, backup_id, "one", Idempotency_Key=KEY))
    recipients = pb.BackupRecipients(backup_id=backup_id, to_project_ids=["one"])
    request = pb.ShareBackupRequest(project_id=giver.id, shared=recipients, idempotency_key=KEY)
    (sharing,) = system.sharings.ShareBackup(request, metadata=[("x-auth-token", giver.token)]).shared
    assert sharing.id == first["shared"][0]["id"]


async def test_a_second_call_while_the_first_waits_gets_its_answer(
    system: System, giver: Project, backup_id: str
) -> None:
    with system.locked():
        calls = [asyncio.ensure_future(system.share(giver, backup_id, "one", Idempotency_Key=KEY)) for _ in range(2)]
        # Reads overtake waiting changes: once this read succeeds, the server has received both changes.
        assert await system.count(giver) == 0
        assert not any(call.done() for call in calls)
    first, second = await asyncio.gather(*calls)
    assert_success(first)
    assert (second.status, second.body) == (200, first.body)


async def test_twenty_calls_at_once_with_one_key_share_once(system: System, giver: Project, backup_id: str) -> None:
    calls = (system.share(giver, backup_id, "one", "two", Idempotency_Key=KEY) for _ in range(20))
    answers = await asyncio.gather(*calls)
    assert {(answer.status, answer.body) for answer in answers} == {(200, answers[0].body)}
    assert len(system.rows(backup_id)) == 2
