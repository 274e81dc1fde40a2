"""Watches through the gateway: the events of a project as they happen."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import grpc
import psycopg
import pytest

from backupsharing.v2 import backup_access_pb2 as pb
from backupsharing.v2.backup_access_pb2_grpc import BackupAccessServiceStub
from tests.support.ports import free_address
from tests.support.rest import Rest, assert_failure
from tests.support.system import SERVICE_TOKEN, Project, System
from tests.support.watching import watching

ENGINES = ("sqlite", "postgres")

ACTOR = {"by_project_id", "by_user_id", "request_id"}


@pytest.mark.parametrize("sse", [True, False])
async def test_giver_and_recipient_see_a_share_as_it_happens(
    system: System, rest: Rest, giver: Project, recipient: Project, backup_id: str, sse: bool
) -> None:
    async with (
        watching(rest.address, giver.path, giver.token, sse=sse) as of_giver,
        watching(rest.address, recipient.path, recipient.token, sse=sse) as of_recipient,
    ):
        for stream in (of_giver, of_recipient):
            begun = await stream.record()
            assert begun is not None
            assert set(begun.body) == {"cursor"}
        answer = await system.share(giver, backup_id, recipient.id)
        given, got = await of_giver.event(), await of_recipient.event()
    assert given.body["cursor"] == given.event["cursor"] == got.event["cursor"]
    assert given.id == got.id == (given.body["cursor"] if sse else "")
    assert given.event["sharing_id"] == answer.json["shared"][0]["id"]
    assert (given.event["kind"], given.event["by_user_id"]) == ("shared", "member")
    assert {name: value for name, value in given.event.items() if name not in ACTOR} == got.event


async def test_a_watch_from_the_beginning_goes_on_to_the_present(
    system: System, rest: Rest, giver: Project, recipient: Project, backup_id: str
) -> None:
    for project in (recipient.id, "other"):
        await system.share(giver, backup_id, project)
    async with watching(rest.address, giver.path, giver.token, f"from_beginning=true&backup_id={backup_id}") as stream:
        past = [(await stream.event()).event["kind"] for _ in range(3)]
        await system.rest.call("DELETE", f"{giver.path}/{backup_id}?is_backup_id=true", token=giver.token)
        now = [(await stream.event()).event["kind"] for _ in range(2)]
    assert (past, now) == (["backup_put", "shared", "shared"], ["cancelled", "cancelled"])


async def test_a_browser_resumes_by_its_last_event_id(
    system: System, rest: Rest, giver: Project, backup_id: str
) -> None:
    for project in ("one", "two", "three"):
        await system.share(giver, backup_id, project)
    async with watching(rest.address, giver.path, giver.token, "from_beginning=true") as stream:
        first, second, third = [await stream.event() for _ in range(3)]
    assert [each.event.get("to_project_id") for each in (first, second, third)] == [None, "one", "two"]
    resumed = {"Last-Event-ID": second.id}
    async with watching(rest.address, giver.path, giver.token, f"cursor={first.id}", headers=resumed) as stream:
        assert (await stream.event()).event == third.event
    async with watching(rest.address, giver.path, giver.token, f"cursor={first.id}") as stream:
        assert (await stream.event()).event == second.event


@pytest.mark.parametrize(
    ("query", "named"),
    [("cursor=x", "cursor"), (f"cursor={'0' * 16}:1", "cursor"), ("kind=removed", "kind"), ("nope=1", "nope")],
)
async def test_a_watch_with_a_bad_value_names_it(rest: Rest, idle: Project, query: str, named: str) -> None:
    headers = {"Accept": "text/event-stream, application/json"}
    answer = await rest.call("GET", f"{idle.path}-events/watch?{query}", token=idle.token, headers=headers)
    assert_failure(answer, 400, "VolumeBackup.0002", named)


async def test_nobody_watches_another_project(rest: Rest, idle: Project, giver: Project) -> None:
    answer = await rest.call("GET", f"{giver.path}-events/watch", token=idle.token)
    assert_failure(answer, 403, "VolumeBackup.0042")
    assert_failure(await rest.call("GET", f"{giver.path}-events/watch"), 401, "AutoBackup.0002")


async def test_changes_through_another_server_reach_a_watch(
    system: System, rest: Rest, giver: Project, backup_id: str
) -> None:
    address = free_address()
    other = await asyncio.to_thread(system.start_another, address)
    try:
        async with (
            watching(rest.address, giver.path, giver.token) as stream,
            grpc.aio.insecure_channel(address) as channel,
        ):
            assert await stream.record() is not None
            other_watch = BackupAccessServiceStub(channel).WatchSharings(
                pb.WatchSharingsRequest(project_id=giver.id), metadata=[("x-auth-token", SERVICE_TOKEN)]
            )
            assert not (await other_watch.read()).HasField("event")
            for project in map(str, range(20)):
                await system.share(giver, backup_id, project)
                theirs, ours = await other_watch.read(), await stream.event()
                assert (theirs.event.to_project_id, theirs.cursor) == (project, ours.id)
    finally:
        await asyncio.to_thread(other.end)


async def test_more_watches_than_a_connection_holds_all_begin(
    system: System, rest: Rest, giver: Project, backup_id: str
) -> None:
    async with AsyncExitStack() as streams:
        opened = [
            await streams.enter_async_context(watching(rest.address, giver.path, giver.token)) for _ in range(120)
        ]
        for stream in opened:
            assert await stream.record() is not None
        await system.share(giver, backup_id, "one")
        assert {(await stream.event()).event["to_project_id"] for stream in opened} == {"one"}


async def test_an_event_committed_late_is_neither_lost_nor_repeated(
    system: System, rest: Rest, giver: Project, backup_id: str
) -> None:
    if not system.postgres:
        pytest.skip("SQLite has one writer, which commits in the order of the numbers")
    columns = "at, kind, backup_id, from_project_id, to_project_id, by_project_id, by_user_id, request_id"
    row = (1, "shared", backup_id, giver.id, "late", giver.id, "member", "")
    async with watching(rest.address, giver.path, giver.token) as stream:
        assert await stream.record() is not None
        with psycopg.connect(system.postgres) as session:
            session.execute(f"INSERT INTO sharing_events ({columns}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", row)  # noqa: S608
            await system.share(giver, backup_id, "early")
            early = await stream.event()
            session.commit()
        await system.share(giver, backup_id, "last")
        others = [await stream.event() for _ in range(2)]
    assert early.event["to_project_id"] == "early"
    assert {each.event["to_project_id"] for each in others} == {"late", "last"}
    query = f"from_beginning=true&backup_id={backup_id}&kind=shared"
    async with watching(rest.address, giver.path, giver.token, query) as stream:
        again = [await stream.event() for _ in range(3)]
    assert [each.id for each in again] == [each.id for each in (early, *others)]
