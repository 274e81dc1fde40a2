"""Both clients apart from failures: tokens, lists, channels, and cancelled tasks that cancel their calls."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from backupsharing.client import (
    AsyncClient,
    Backup,
    BackupSharingError,
    BadEndpoint,
    Client,
    DeadlineExceeded,
    Retrying,
)
from backupsharing.v2.backup_sharing_pb2 import ListSharingsRequest, ListSharingsResponse
from backupsharing.v2.sharing_pb2 import SharingDetail
from tests.client.callers import PROJECT, QUICK, Caller
from tests.support.certificates import Certificates
from tests.support.programs import PATIENCE
from tests.support.stub_server import Context, StubServer
from tests.support.system import SERVICE_TOKEN, System

PAGE = ListSharingsResponse(shared=[SharingDetail(id="a"), SharingDetail(id="b")], next_page_token="more")


def test_a_token_is_asked_for_before_each_attempt(stub: StubServer, caller: Caller) -> None:
    stub.fails_first(2, grpc.StatusCode.UNAVAILABLE)
    tokens = iter(("one", "two", "three"))
    caller.do(lambda client: client.count(), token=lambda: next(tokens))
    assert [seen.metadata["x-auth-token"] for seen in stub.seen] == ["one", "two", "three"]


async def test_a_token_may_be_awaited_and_its_time_counts(stub: StubServer) -> None:
    async def slow() -> str:
        await asyncio.sleep(0.1)
        return "slow"

    async with AsyncClient(stub.address, project=PROJECT, token=slow) as client:
        await client.count()
        with pytest.raises(DeadlineExceeded):
            await client.count(timeout=0.05)
    assert [seen.metadata["x-auth-token"] for seen in stub.seen] == ["slow"]


def test_without_a_token_none_is_sent(stub: StubServer, caller: Caller) -> None:
    caller.do(lambda client: client.count(), token="")
    assert "x-auth-token" not in stub.seen[0].metadata


@pytest.mark.parametrize("token", ["secret\n", "sécret", "sec\0ret"])
def test_a_token_that_cannot_be_one_is_refused_and_not_shown(stub: StubServer, caller: Caller, token: str) -> None:
    with pytest.raises(BadEndpoint) as raised:
        caller.do(lambda client: client.count(), token=token)
    assert "ret" not in str(raised.value)
    assert stub.seen == []


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.share("b", ["p"]),
        lambda client: client.cancel("s"),
        lambda client: client.cancel_all("b"),
        lambda client: client.get("s"),
        lambda client: client.list(),
        lambda client: client.count(),
    ],
)
def test_calls_about_sharings_need_a_project(
    stub: StubServer, caller: Caller, call: Callable[[object], object]
) -> None:
    with pytest.raises(ValueError, match="without a project"):
        caller.do(call, project="")
    assert stub.seen == []


def test_one_text_is_not_taken_for_several_recipients(stub: StubServer, caller: Caller) -> None:
    with pytest.raises(TypeError, match="single string"):
        caller.do(lambda client: client.share("b", PROJECT))
    assert stub.seen == []


def test_a_filter_that_is_not_there_is_refused(caller: Caller) -> None:
    with pytest.raises(TypeError, match="nam"):
        caller.do(lambda client: client.count(nam="x"))


def test_a_client_has_either_a_target_or_a_channel(caller: Caller) -> None:
    with pytest.raises(ValueError, match="either"):
        caller.do(lambda client: client.count(), target="")


def test_the_next_page_is_asked_for_only_when_it_is_needed(stub: StubServer) -> None:
    stub.answers(PAGE.SerializeToString())
    with Client(stub.address, project=PROJECT) as client:
        sharings = client.list(page_size=2, name="x")
        assert stub.seen == []
        assert [next(sharings).id, next(sharings).id] == ["a", "b"]
        assert len(stub.seen) == 1
        stub.answers(b"")
        assert list(sharings) == []
    first, second = (ListSharingsRequest.FromString(seen.request) for seen in stub.seen)
    assert (first.page_token, second.page_token) == ("", "more")
    assert (second.limit, second.name, second.project_id) == (2, "x", PROJECT)


async def test_the_next_page_is_awaited_only_when_it_is_needed(stub: StubServer) -> None:
    stub.answers(PAGE.SerializeToString())
    async with AsyncClient(stub.address, project=PROJECT) as client:
        async for sharing in client.list(page_size=2):
            if sharing.id == "b":
                break
    assert len(stub.seen) == 1


async def test_cancelling_a_task_ends_its_call_on_the_server(stub: StubServer) -> None:
    gone = watched(stub)
    async with AsyncClient(stub.address, project=PROJECT) as client:
        task = asyncio.create_task(client.count())
        await asyncio.to_thread(stub.wait_until_held)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(gone.wait, PATIENCE)
    assert len(stub.seen) == 1


async def test_cancelling_an_iteration_ends_the_page_it_waits_for(stub: StubServer) -> None:
    got: list[str] = []

    async def read(client: AsyncClient) -> None:
        async for sharing in client.list():
            if not got:
                gone.append(watched(stub))
            got.append(sharing.id)

    gone: list[threading.Event] = []
    stub.answers(PAGE.SerializeToString())
    async with AsyncClient(stub.address, project=PROJECT) as client:
        task = asyncio.create_task(read(client))
        while not gone:  # noqa: ASYNC110 -- this loop sets it
            await asyncio.sleep(0.01)
        await asyncio.to_thread(stub.wait_until_held)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(gone[0].wait, PATIENCE)
    assert got == ["a", "b"]
    assert len(stub.seen) == 2


async def test_cancelling_a_pause_sends_nothing_more(stub: StubServer) -> None:
    stub.fails(grpc.StatusCode.UNAVAILABLE)
    begun = asyncio.Event()

    def pause_begins() -> float:
        begun.set()
        return 0.0

    # The pause is longer than any test may take.
    pausing = Retrying(first_pause=PATIENCE, longest_pause=PATIENCE, chance=pause_begins)
    async with AsyncClient(stub.address, project=PROJECT, retrying=pausing) as client:
        waiting = asyncio.create_task(client.count(timeout=2 * PATIENCE))
        await begun.wait()
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert asyncio.all_tasks() == {asyncio.current_task()}
    assert len(stub.seen) == 1


async def test_calls_of_a_closed_client_fail_and_are_not_cancelled(stub: StubServer) -> None:
    stub.holds(b"")
    client = AsyncClient(stub.address, project=PROJECT)
    waiting = asyncio.create_task(client.share("b", ["p"]))
    await asyncio.to_thread(stub.wait_until_held)
    await client.close()
    with pytest.raises(BackupSharingError, match="closed") as raised:
        await waiting
    assert (raised.value.status, raised.value.may_be_stored) == (grpc.StatusCode.CANCELLED, True)
    with pytest.raises(BackupSharingError, match="closed"):
        await client.count()


async def test_a_task_cancelled_while_its_client_closes_ends_cancelled(stub: StubServer) -> None:
    stub.holds(b"")
    client = AsyncClient(stub.address, project=PROJECT)
    waiting = asyncio.create_task(client.count())
    await asyncio.to_thread(stub.wait_until_held)
    waiting.cancel()
    await client.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_calls_of_other_threads_fail_when_the_client_is_closed(stub: StubServer) -> None:
    stub.holds(b"")
    client = Client(stub.address, project=PROJECT)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.count)
        stub.wait_until_held()
        client.close()
        with pytest.raises(BackupSharingError, match="closed") as raised:
            waiting.result(PATIENCE)
    assert raised.value.status is grpc.StatusCode.CANCELLED
    with pytest.raises(BackupSharingError, match="closed"):
        client.count()


async def test_closing_ends_the_pause_before_a_retry_with_a_failure(stub: StubServer) -> None:
    stub.fails(grpc.StatusCode.UNAVAILABLE)
    pausing = Retrying(first_pause=PATIENCE, longest_pause=PATIENCE)
    client = AsyncClient(stub.address, project=PROJECT, retrying=pausing)
    waiting = asyncio.create_task(client.count(timeout=2 * PATIENCE))
    while not stub.seen:  # noqa: ASYNC110 -- another thread adds to it
        await asyncio.sleep(0.01)
    await client.close()
    with pytest.raises(BackupSharingError):
        await waiting
    assert len(stub.seen) == 1


def test_an_awaited_client_may_be_made_before_there_is_a_loop(stub: StubServer) -> None:
    asyncio.run(asyncio.sleep(0))
    client = AsyncClient(stub.address, project=PROJECT)

    async def main() -> None:
        async with client:
            await client.count()

    asyncio.run(main())
    assert len(stub.seen) == 1


async def test_a_time_out_of_the_token_source_is_not_the_deadline(stub: StubServer) -> None:
    async def give_up() -> str:
        raise TimeoutError("Keystone did not answer")

    async with AsyncClient(stub.address, project=PROJECT, token=give_up) as client:
        with pytest.raises(TimeoutError, match="Keystone"):
            await client.count()
    assert stub.seen == []


@pytest.mark.parametrize("given", ["no pem", "swapped", "key of another", "key with a password"])
def test_bad_files_for_tls_are_reported_when_a_client_is_made(tmp_path: Path, caller: Caller, given: str) -> None:
    certificates = Certificates(tmp_path)
    certificate, key = certificates.issue("client", "client.example")
    files = {"ca": certificates.ca, "certificate": certificate, "key": key}
    if given == "no pem":
        files["ca"] = tmp_path / "ca.txt"
        files["ca"].write_text("no certificate")
    elif given == "swapped":
        files |= {"certificate": key, "key": certificate}
    elif given == "key of another":
        files["key"] = certificates.issue("another", "another.example")[1]
    else:
        files["key"] = tmp_path / "locked.pem"
        files["key"].write_bytes(locked(key.read_bytes()))
    reported = next(str(file) for name, file in files.items() if name == ("ca" if given == "no pem" else "certificate"))
    with pytest.raises(BadEndpoint, match=re.escape(reported)):
        caller.do(lambda client: client.count(), target="127.0.0.1:1", **files)


def locked(key: bytes) -> bytes:
    """Return the same key, encrypted with a password."""
    return load_pem_private_key(key, None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
    )


def watched(stub: StubServer) -> threading.Event:
    """Block the next calls; return an event that is set when the server notices that the caller has gone."""
    stub.holds(b"")
    gone = threading.Event()
    hold = stub.behaviour

    def watch(context: Context) -> bytes:
        context.add_callback(gone.set)
        return hold(context)

    stub.behaves(watch)
    return gone


def test_a_given_channel_is_used_and_left_open(stub: StubServer) -> None:
    with grpc.insecure_channel(stub.address) as channel:
        for _ in range(2):
            with Client(channel=channel, project=PROJECT, retrying=QUICK) as client:
                client.count()
    assert len(stub.seen) == 2


async def test_a_given_channel_is_awaited_and_left_open(stub: StubServer) -> None:
    async with grpc.aio.insecure_channel(stub.address) as channel:
        for _ in range(2):
            async with AsyncClient(channel=channel, project=PROJECT) as client:
                await client.count()
    assert len(stub.seen) == 2


def test_a_time_without_a_zone_is_refused(stub: StubServer, caller: Caller) -> None:
    naive = datetime(2017, 8, 8)  # noqa: DTZ001 -- the test needs a naive time
    with pytest.raises(ValueError, match="updated_at has no time zone"):
        caller.do(lambda client: client.put_backup(Backup(id="b", project_id="p", status="s", updated_at=naive)))
    assert stub.seen == []


def test_a_backup_comes_back_as_it_was_put(system: System) -> None:
    giver = system.new_project()
    at = datetime(2017, 8, 8, 6, 3, 27, 123456, tzinfo=timezone(timedelta(hours=2)))
    backup = Backup(
        id="0b9c7ff7-9305-4057-97e5-2e99b21fc71d",
        project_id=giver.id,
        status="available",
        name="nächtlich",
        size=0,
        is_incremental=False,
        created_at=at,
        data_timestamp=datetime(1969, 1, 1, tzinfo=UTC),
    )
    with Client(system.grpc_address, token=SERVICE_TOKEN) as service:
        assert service.put_backup(backup) == backup
        got = service.get_backup(backup.id)
    assert got == backup
    assert got.created_at is not None
    assert got.created_at.tzinfo is UTC
    assert got.description is None
