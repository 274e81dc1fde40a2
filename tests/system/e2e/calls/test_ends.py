"""The header ``X-Sharing-Expire-Time`` over REST, and the end of sharings, in real processes."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import psycopg
import pytest

from backupsharing.v2 import backup_sharing_pb2 as pb
from tests.support.programs import PATIENCE, Programs
from tests.support.rest import assert_failure, assert_success
from tests.support.system import Project, System
from tests.support.wire import Answer

ENGINES = ("sqlite", "postgres")

HEADER = "X-Sharing-Expire-Time"
FAR = datetime(9999, 1, 2, 3, 4, 5, 678_901, UTC)
PAUSE = 0.02
"""Seconds between two looks for an event that must come."""


async def ending(system: System, giver: Project, backup_id: str, time: str, **headers: str) -> Answer:
    return await system.share(giver, backup_id, "recipient", X_Sharing_Expire_Time=time, **headers)


def end_of(system: System, giver: Project, sharing_id: str) -> datetime:
    """Return the end of a sharing, over gRPC."""
    request = pb.GetSharingRequest(project_id=giver.id, id=sharing_id)
    got = system.sharings.GetSharing(request, metadata=[("x-auth-token", giver.token)])
    return got.shared.expire_time.ToDatetime(UTC)


def let_end(system: System, backup_id: str) -> None:
    """Move the end of a backup's sharings into the past, as if time had passed."""
    statement = "UPDATE sharings SET expires_at = 1 WHERE backup_id = ?"
    if system.postgres:
        with psycopg.connect(system.postgres, autocommit=True) as session:
            session.execute(statement.replace("?", "%s"), (backup_id,))
        return
    with closing(sqlite3.connect(system.folder / "sharings.db", isolation_level=None)) as connection:
        connection.execute(statement, (backup_id,))


@pytest.mark.parametrize(
    "time",
    [
        FAR.isoformat(),
        "9999-01-02T03:04:05.678901Z",
        "9999-01-02T03:04:05.678901999Z",
        FAR.astimezone(timezone(timedelta(hours=-7, minutes=-30))).isoformat(),
    ],
)
async def test_the_header_sets_the_end(system: System, giver: Project, backup_id: str, time: str) -> None:
    ((sharing),) = assert_success(await ending(system, giver, backup_id, time))["shared"]
    assert end_of(system, giver, sharing["id"]) == FAR


async def test_the_documented_bodies_do_not_show_the_end(system: System, giver: Project) -> None:
    one, other = system.put_backup(giver), system.put_backup(giver)
    ends = assert_success(await ending(system, giver, one, FAR.isoformat()))["shared"][0]
    endless = assert_success(await system.share(giver, other, "recipient"))["shared"][0]
    assert list(ends) == list(endless)
    listed = assert_success(await system.list(giver))["shared"]
    assert list(listed[0]) == list(listed[1])
    assert "expire_time" not in str(ends) + str(listed)


MALFORMED = (
    *("", "tomorrow", "1", "2999-01-01", "2999-01-01T00:00:00", "2999-01-01 00:00:00Z", "2999-02-30T00:00:00Z"),
    *("2999-01-01T00:00:00+25", "2999-01-01T24:00:00Z", "2999-01-01T00:00:60Z", "\u0662999-01-01T00:00:00Z"),
    *("2999-01-01T00:00:00Z, 2999-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "null"),
)


@pytest.mark.parametrize("time", MALFORMED)
async def test_a_naive_or_malformed_time_is_400_by_the_header(
    system: System, giver: Project, backup_id: str, time: str
) -> None:
    answer = await ending(system, giver, backup_id, time)
    assert_failure(answer, 400, "VolumeBackup.0002", HEADER)
    assert system.rows(backup_id) == []


async def test_two_times_are_400(system: System, giver: Project, backup_id: str) -> None:
    body = {"shared": {"to_project_ids": ["recipient"], "backup_id": backup_id}}
    headers = [(HEADER, FAR.isoformat())] * 2
    answer = await system.rest.call("POST", giver.path, token=giver.token, body=body, headers=headers)
    assert_failure(answer, 400, "VolumeBackup.0002", HEADER, "2 times")


@pytest.mark.parametrize("time", ["2001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"])
@pytest.mark.parametrize("key", [{}, {"Idempotency_Key": "k"}])
async def test_a_time_in_the_past_is_400_by_the_member(
    system: System, giver: Project, backup_id: str, time: str, key: dict[str, str]
) -> None:
    answer = await ending(system, giver, backup_id, time, **key)
    assert_failure(answer, 400, "VolumeBackup.0002", "expire_time", time)
    assert system.rows(backup_id) == []


async def test_the_body_and_the_query_cannot_set_the_end(system: System, giver: Project, backup_id: str) -> None:
    for extra, query in (({"expire_time": FAR.isoformat()}, ""), ({}, f"?expire_time={FAR:%Y-%m-%dT%H:%M:%SZ}")):
        body = {"shared": {"to_project_ids": ["recipient"], "backup_id": backup_id}, **extra}
        answer = await system.rest.call("POST", giver.path + query, token=giver.token, body=body)
        assert_failure(answer, 400, "VolumeBackup.0002", "expire_time")
    assert system.rows(backup_id) == []


async def test_nothing_shows_a_sharing_after_its_end(system: System, giver: Project, backup_id: str) -> None:
    (sharing,) = assert_success(await ending(system, giver, backup_id, FAR.isoformat(), Idempotency_Key="k"))["shared"]
    first = await ending(system, giver, backup_id, FAR.isoformat(), Idempotency_Key="k")
    target = f"{giver.path}/{sharing['id']}"
    assert (await system.rest.call("GET", target, token=giver.token)).status == 200
    let_end(system, backup_id)
    for method in ("GET", "DELETE"):
        assert_failure(await system.rest.call(method, target, token=giver.token), 404, "VolumeBackup.0043")
    assert assert_success(await system.list(giver))["shared"] == []
    assert await system.count(giver) == 0
    again = await ending(system, giver, backup_id, FAR.isoformat(), Idempotency_Key="k")
    assert (again.status, again.body) == (200, first.body)
    assert_success(await system.share(giver, backup_id, "recipient"))
    assert system.events(backup_id) == {"backup_put": 1, "shared": 2, "expired": 1}


def test_a_call_that_only_checks_stores_nothing(system: System, giver: Project, backup_id: str) -> None:
    metadata = [("x-auth-token", giver.token)]
    shared = pb.BackupRecipients(backup_id=backup_id, to_project_ids=["one", "two"])
    request = pb.ShareBackupRequest(project_id=giver.id, shared=shared, validate_only=True, idempotency_key="k")
    request.expire_time.FromDatetime(FAR)
    answer = system.sharings.ShareBackup(request, metadata=metadata)
    assert [(each.id, each.expire_time.ToDatetime(UTC)) for each in answer.shared] == [("", FAR), ("", FAR)]
    assert (system.rows(backup_id), system.events(backup_id)) == ([], {"backup_put": 1})
    request.validate_only = False
    stored = system.sharings.ShareBackup(request, metadata=metadata).shared
    cancel = pb.CancelSharingRequest(project_id=giver.id, id=backup_id, is_backup_id=True, validate_only=True)
    assert [each.id for each in system.sharings.CancelSharing(cancel, metadata=metadata).shared] == [
        each.id for each in stored
    ]
    assert system.events(backup_id) == {"backup_put": 1, "shared": 2}


async def test_the_server_records_ends_and_sets_them(programs: Programs, tmp_path: Path) -> None:
    system = System(tmp_path, programs, 1, "--sweep-interval", "0.05", "--max-sharing-lifetime", "7")
    giver = system.new_project()
    backup_id = system.put_backup(giver)
    began = datetime.now(UTC)
    (sharing,) = assert_success(await system.share(giver, backup_id, "recipient"))["shared"]
    assert began + timedelta(days=7) <= end_of(system, giver, sharing["id"])
    other = system.put_backup(giver)
    assert_failure(await ending(system, giver, other, FAR.isoformat()), 400, "VolumeBackup.0002", "expire_time")
    let_end(system, backup_id)
    async with asyncio.timeout(PATIENCE):
        while "expired" not in system.events(backup_id):  # noqa: ASYNC110 -- another process records it
            await asyncio.sleep(PAUSE)
    assert system.rows(backup_id) == [(sharing["id"], "recipient", 1)]
    system.close()
