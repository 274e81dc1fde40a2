"""Retention in real processes: a server deletes what is old, and a client with an old cursor is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.programs import PATIENCE, Programs
from tests.support.rest import assert_failure, assert_success
from tests.support.system import Project, System
from tests.support.wire import Answer

AT_ONCE = "0.000001"
"""Days to keep: less than a second."""
PAUSE = 0.05
"""Seconds between two looks for something that must come."""


@pytest.fixture
def forgetful(programs: Programs, tmp_path: Path) -> Iterator[System]:
    """Server that keeps nothing old, with its gateway."""
    system = System(tmp_path, programs, 2, "--keep-events", AT_ONCE, "--keep-cancelled", AT_ONCE)
    yield system
    system.close()


async def events(system: System, giver: Project, query: str = "") -> Answer:
    return await system.rest.call("GET", f"{giver.path}-events{query}", token=giver.token)


async def test_old_data_goes_and_an_old_cursor_is_refused(forgetful: System) -> None:
    giver, recipient = forgetful.new_project(), forgetful.new_project()
    backup_id = forgetful.put_backup(giver)
    shared = assert_success(await forgetful.share(giver, backup_id, recipient.id, "another"))["shared"]
    cancelled, active = (each["id"] for each in shared)
    assert (await forgetful.rest.call("DELETE", f"{giver.path}/{cancelled}", token=giver.token)).status == 200
    async with asyncio.timeout(PATIENCE):
        while forgetful.events(backup_id) or len(forgetful.rows(backup_id)) > 1:  # noqa: ASYNC110 -- in a database
            await asyncio.sleep(PAUSE)
    assert [row[0] for row in forgetful.rows(backup_id)] == [active]
    page = assert_success(await events(forgetful, giver))
    assert page["events"] == []
    store_id, _, newest = page["cursor"].partition(":")
    assert int(newest) == 4
    watched = await events(forgetful, giver, f"/watch?cursor={store_id}:3")
    assert_failure(watched, 400, "BackupSharing.0006")
    assert page["cursor"] in watched.body.decode()
    assert_success(await forgetful.rest.call("GET", f"{giver.path}/{active}", token=giver.token))
    assert_failure(
        await forgetful.rest.call("GET", f"{giver.path}/{cancelled}", token=giver.token), 404, "VolumeBackup.0043"
    )
