"""Concurrent requests."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.support.rest import assert_failure, assert_success
from tests.support.system import Project, System

ENGINES = ("sqlite", "postgres")


async def test_of_fifty_identical_shares_at_once_one_is_stored(system: System, giver: Project, backup_id: str) -> None:
    answers = await asyncio.gather(*(system.share(giver, backup_id, "one", "two", "three") for _ in range(50)))
    assert Counter(answer.status for answer in answers) == {200: 1, 409: 49}
    for answer in answers:
        if answer.status == 409:
            assert_failure(answer, 409, "BackupSharing.0002", "one, two, three")
    (shared,) = (answer.json["shared"] for answer in answers if answer.status == 200)
    assert sorted((row[0], row[1]) for row in system.rows(backup_id)) == sorted(
        (item["id"], item["to_project_id"]) for item in shared
    )
    assert system.events(backup_id) == {"backup_put": 1, "shared": 3}


async def test_shares_that_overlap_are_each_stored_whole_or_not_at_all(
    system: System, giver: Project, backup_id: str
) -> None:
    wanted = [[f"recipient-{number}", f"recipient-{number + 1}"] for number in range(30)]
    answers = await asyncio.gather(*(system.share(giver, backup_id, *recipients) for recipients in wanted))
    stored = Counter(row[1] for row in system.rows(backup_id))
    granted = Counter(
        recipient for recipients, answer in zip(wanted, answers, strict=True) if answer.status == 200
        for recipient in recipients
    )  # fmt: skip
    assert {answer.status for answer in answers} == {200, 409}
    assert stored == granted
    assert set(stored.values()) == {1}


async def test_shares_of_different_backups_at_once_do_not_interfere(system: System, giver: Project) -> None:
    backups = [system.put_backup(giver) for _ in range(40)]
    answers = await asyncio.gather(*(system.share(giver, backup_id, "recipient") for backup_id in backups))
    assert [assert_success(answer)["shared"][0]["backup_id"] for answer in answers] == backups
    assert await system.count(giver) == 40


async def test_of_twenty_identical_cancels_one_finds_the_sharing(
    system: System, giver: Project, backup_id: str
) -> None:
    sharing_id = assert_success(await system.share(giver, backup_id, "recipient"))["shared"][0]["id"]
    target = f"{giver.path}/{sharing_id}"
    answers = await asyncio.gather(*(system.rest.call("DELETE", target, token=giver.token) for _ in range(20)))
    assert Counter(answer.status for answer in answers) == {200: 1, 404: 19}
    assert system.events(backup_id) == {"backup_put": 1, "shared": 1, "cancelled": 1}


async def test_what_a_call_stored_is_seen_by_the_very_next_call(system: System, giver: Project, backup_id: str) -> None:
    async def share_and_look(recipient: str) -> tuple[int, int]:
        sharing_id = assert_success(await system.share(giver, backup_id, recipient))["shared"][0]["id"]
        seen = await system.rest.call("GET", f"{giver.path}/{sharing_id}", token=giver.token)
        return seen.status, await system.count(giver, f"to_project_id={recipient}")

    looked = await asyncio.gather(*(share_and_look(f"recipient-{number}") for number in range(30)))
    assert set(looked) == {(200, 1)}


async def test_cancel_all_beside_shares_leaves_one_active_at_most(
    system: System, giver: Project, backup_id: str
) -> None:
    target = f"{giver.path}/{backup_id}?is_backup_id=true"
    calls = [system.share(giver, backup_id, "recipient") for _ in range(15)]
    calls += [system.rest.call("DELETE", target, token=giver.token) for _ in range(15)]
    answers = await asyncio.gather(*calls)
    shared = [answer.json["shared"][0]["id"] for answer in answers[:15] if answer.status == 200]
    assert {answer.status for answer in answers[15:]} == {200}
    assert sorted(row[0] for row in system.rows(backup_id)) == sorted(shared)
    active = [row for row in system.rows(backup_id) if row[2] is None]
    assert len(active) <= 1
    assert await system.count(giver) == len(active)
