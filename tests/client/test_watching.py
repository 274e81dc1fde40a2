"""The watch of both clients: it misses nothing, repeats nothing, and ends only when it must."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from backupsharing.client import (
    AsyncClient,
    BackupSharingError,
    Client,
    CursorExpired,
    InvalidRequest,
    NotAllowed,
    NotAuthenticated,
    Retrying,
    ServerFault,
    Unavailable,
)
from tests.client.callers import PROJECT, QUICK, Caller
from tests.client.streams import End, Streams, checkpoint, ends, event, fails, taken
from tests.support.ports import free_address
from tests.support.programs import PATIENCE
from tests.support.stub_server import StubServer

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
SOON, LATE = RetryInfo(retry_delay=Duration(nanos=1000)), RetryInfo(retry_delay=Duration(seconds=600))


@pytest.fixture
def streams(stub: StubServer) -> Streams:
    return Streams(stub)


def reason(name: str, **metadata: str) -> ErrorInfo:
    return ErrorInfo(reason=name, domain="backupsharing", metadata=metadata)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (fails(grpc.StatusCode.UNAUTHENTICATED, reason("TOKEN_INVALID")), NotAuthenticated),
        (fails(grpc.StatusCode.INVALID_ARGUMENT, reason("INVALID_REQUEST")), InvalidRequest),
        (fails(grpc.StatusCode.PERMISSION_DENIED, reason("ROLE_MISSING")), NotAllowed),
        (fails(grpc.StatusCode.INTERNAL, reason("INTERNAL")), ServerFault),
        (fails(grpc.StatusCode.UNIMPLEMENTED), BackupSharingError),
        (fails(grpc.StatusCode.RESOURCE_EXHAUSTED), BackupSharingError),
    ],
)
def test_a_watch_ends_with_failures_that_do_not_pass(
    streams: Streams, caller: Caller, end: End, expected: type[BackupSharingError]
) -> None:
    streams.then(event(1), end=end)
    with pytest.raises(expected) as raised:
        caller.do(lambda client: taken(client.watch(cursor="s:0"), 2))
    assert type(raised.value) is expected
    assert streams.asked == ["s:0"]


def test_an_expired_cursor_names_the_oldest_one(streams: Streams, caller: Caller) -> None:
    info = reason("CURSOR_EXPIRED", oldest_cursor="s:100", code="BackupSharing.0006")
    streams.then(end=fails(grpc.StatusCode.OUT_OF_RANGE, info))
    with pytest.raises(CursorExpired) as raised:
        caller.do(lambda client: taken(client.watch(cursor="s:1"), 1))
    assert raised.value.oldest_cursor == "s:100"


@pytest.mark.parametrize(
    "end",
    [
        ends,
        fails(UNAVAILABLE),
        fails(UNAVAILABLE, SOON, reason("UNAVAILABLE")),
        fails(grpc.StatusCode.RESOURCE_EXHAUSTED, SOON, reason("OVERLOADED")),
        fails(grpc.StatusCode.UNKNOWN),
        fails(grpc.StatusCode.INTERNAL),
        fails(grpc.StatusCode.CANCELLED),
        fails(grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
)
def test_a_broken_watch_goes_on_after_its_last_event(streams: Streams, caller: Caller, end: End) -> None:
    streams.then(event(1), event(2), end=end).then(event(3), end=end).then(event(4))
    assert caller.do(lambda client: taken(client.watch(cursor="s:0"), 4)) == ["s:1", "s:2", "s:3", "s:4"]
    assert streams.asked == ["s:0", "s:2", "s:3"]


def test_a_checkpoint_moves_the_cursor_and_is_reported(streams: Streams, caller: Caller) -> None:
    streams.then(event(1), checkpoint(5), checkpoint(8), end=fails(UNAVAILABLE)).then(event(9))
    places: list[str] = []
    watched = caller.do(lambda client: taken(client.watch(cursor="s:0", on_checkpoint=places.append), 2))
    assert (watched, places, streams.asked) == (["s:1", "s:9"], ["s:5", "s:8"], ["s:0", "s:8"])


def test_an_event_that_comes_again_is_not_repeated(streams: Streams, caller: Caller) -> None:
    streams.then(event(1), end=ends).then(event(1), event(2))
    assert caller.do(lambda client: taken(client.watch(from_beginning=True), 2)) == ["s:1", "s:2"]


def test_a_silent_stream_is_given_up(streams: Streams, caller: Caller) -> None:
    streams.then(event(1)).then(event(2))
    reported: list[str] = []

    def watch(client: Client) -> object:
        return taken(
            client.watch(cursor="s:0", idle_timeout=0.2, on_reconnect=lambda failure, _: reported.append(str(failure))),
            2,
        )

    assert caller.do(watch) == ["s:1", "s:2"]
    assert streams.asked[-1] == "s:1"
    assert set(reported) == {"No response for 0.2 s, not even a checkpoint."}
    assert streams.gone.wait(PATIENCE)


def test_a_watch_from_now_knows_its_place_before_it_begins(streams: Streams, caller: Caller) -> None:
    streams.then(end=fails(UNAVAILABLE)).then(event(1))
    assert caller.do(lambda client: taken(client.watch(), 1)) == ["s:1"]
    assert streams.asked == ["newest1", "s:0", "s:0"]


def test_a_watch_from_the_beginning_begins_once(streams: Streams, caller: Caller) -> None:
    streams.then(end=fails(UNAVAILABLE)).then(event(1), end=fails(UNAVAILABLE)).then(event(2))
    assert caller.do(lambda client: taken(client.watch(from_beginning=True), 2)) == ["s:1", "s:2"]
    assert streams.asked == ["beginning", "beginning", "s:1"]


@pytest.mark.parametrize("cursor", ["s:0", None])
def test_a_watch_that_cannot_begin_fails_like_any_call(caller: Caller, cursor: str | None) -> None:
    address = free_address()
    reported: list[float] = []

    def watch(client: Client) -> object:
        return taken(client.watch(cursor=cursor, on_reconnect=lambda _, pause: reported.append(pause)), 1)

    with pytest.raises(Unavailable, match="Nothing listens"):
        caller.do(watch, target=address)
    assert len(reported) == QUICK.attempts - 1


def test_a_watch_that_has_begun_outlasts_any_outage(streams: Streams, caller: Caller) -> None:
    streams.then(event(1), end=fails(UNAVAILABLE))
    for _ in range(3 * QUICK.attempts):
        streams.then(end=fails(UNAVAILABLE))
    streams.then(event(2))
    retrying = Retrying(attempts=QUICK.attempts, first_pause=0.01, longest_pause=0.01)
    assert caller.do(lambda client: taken(client.watch(cursor="s:0"), 2), retrying=retrying) == ["s:1", "s:2"]


def test_a_defect_that_does_not_pass_ends_the_watch(streams: Streams, caller: Caller) -> None:
    streams.then(event(1), end=fails(grpc.StatusCode.UNKNOWN))
    for _ in range(QUICK.attempts):
        streams.then(end=fails(grpc.StatusCode.UNKNOWN))
    with pytest.raises(BackupSharingError, match="broken"):
        caller.do(lambda client: taken(client.watch(cursor="s:0"), 2))
    assert len(streams.asked) == QUICK.attempts


def test_pauses_grow_and_a_response_begins_them_again(streams: Streams, caller: Caller) -> None:
    broken = fails(UNAVAILABLE)
    streams.then(event(1), end=broken).then(end=broken).then(end=broken)
    streams.then(checkpoint(2), end=broken).then(event(3))
    pauses: list[float] = []

    def watch(client: Client) -> object:
        return taken(client.watch(cursor="s:0", on_reconnect=lambda _, pause: pauses.append(pause)), 2)

    caller.do(watch, retrying=Retrying(first_pause=0.01, chance=lambda: 0.0))
    assert pauses == [0.01, 0.02, 0.04, 0.01]


def test_the_service_says_how_long_the_pause_is(streams: Streams, caller: Caller) -> None:
    delay = RetryInfo(retry_delay=Duration(nanos=70_000_000))
    streams.then(event(1), end=fails(UNAVAILABLE, delay)).then(event(2))
    pauses: list[float] = []

    def watch(client: Client) -> object:
        return taken(client.watch(cursor="s:0", on_reconnect=lambda _, pause: pauses.append(pause)), 2)

    caller.do(watch, retrying=Retrying(first_pause=0.01, chance=lambda: 0.0))
    assert pauses == [0.07]


def test_an_expired_token_is_replaced_by_a_fresh_one(streams: Streams, caller: Caller) -> None:
    expired = fails(grpc.StatusCode.UNAUTHENTICATED, reason("TOKEN_INVALID"))
    streams.then(event(1), end=expired).then(event(2), end=expired).then(end=expired)
    tokens = iter(("one", "two", "three"))
    with pytest.raises(NotAuthenticated):
        caller.do(lambda client: taken(client.watch(cursor="s:0"), 3), token=lambda: next(tokens))
    assert [seen.metadata["x-auth-token"] for seen in streams.stub.seen] == ["one", "two", "three"]


def test_after_a_failure_the_next_one_goes_on(streams: Streams) -> None:
    streams.then(event(1), end=fails(grpc.StatusCode.UNAUTHENTICATED)).then(event(2))
    with Client(streams.stub.address, project=PROJECT) as client, client.watch(cursor="s:0") as watch:
        assert next(watch).cursor == "s:1"
        with pytest.raises(NotAuthenticated) as raised:
            next(watch)
        assert raised.value.__context__ is None
        assert next(watch).cursor == "s:2" == watch.cursor


def test_a_response_that_cannot_be_read_is_a_server_fault(streams: Streams, caller: Caller) -> None:
    streams.then(b"\xff\xff")
    with pytest.raises(ServerFault, match="WatchSharings"):
        caller.do(lambda client: taken(client.watch(cursor="s:0"), 1))


def test_a_watch_from_now_without_a_place_is_a_server_fault(stub: StubServer, caller: Caller) -> None:
    with pytest.raises(ServerFault, match="ListSharingEvents"):
        caller.do(lambda client: taken(client.watch(), 1))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cursor": ""}, "cursor is empty"),
        ({"cursor": "s:1", "from_beginning": True}, "not both"),
        ({"idle_timeout": 0}, "idle_timeout is 0"),
    ],
)
def test_options_of_a_watch_that_make_no_sense(
    stub: StubServer, caller: Caller, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        caller.do(lambda client: client.watch(**options))
    assert stub.seen == []


def test_an_exception_of_a_callback_ends_the_iteration(streams: Streams, caller: Caller) -> None:
    streams.then(event(1), end=fails(UNAVAILABLE))

    def give_up(failure: BackupSharingError, pause: float) -> None:
        del failure, pause
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        caller.do(lambda client: taken(client.watch(cursor="s:0", on_reconnect=give_up), 2))


@pytest.mark.parametrize("where", ["waiting", "in a pause", "before it begins", "asking for its place"])
def test_a_watch_can_be_closed_by_another_thread(streams: Streams, where: str) -> None:
    pausing = threading.Event()
    if where == "in a pause":
        streams.then(end=fails(UNAVAILABLE, LATE))
    if where == "asking for its place":
        streams.stub.holds(b"")
    with Client(streams.stub.address, project=PROJECT) as client, ThreadPoolExecutor(1) as pool:
        watch = client.watch(
            cursor=None if where == "asking for its place" else "s:0", on_reconnect=lambda *_: pausing.set()
        )
        if where == "before it begins":
            watch.close()
        got = pool.submit(list, watch)
        if where == "waiting":
            assert streams.held.wait(PATIENCE)
        elif where == "in a pause":
            assert pausing.wait(PATIENCE)
        elif where == "asking for its place":
            streams.stub.wait_until_held()
        watch.close()
        assert got.result(PATIENCE) == []
        assert where != "waiting" or streams.gone.wait(PATIENCE)
        watch.close()
        assert list(watch) == []


@pytest.mark.parametrize("where", ["waiting", "in a pause", "before it begins"])
async def test_a_watch_can_be_closed_by_another_task(streams: Streams, where: str) -> None:
    pausing = asyncio.Event()
    if where == "in a pause":
        streams.then(end=fails(UNAVAILABLE, LATE))
    async with AsyncClient(streams.stub.address, project=PROJECT) as client:
        watch = client.watch(cursor="s:0", on_reconnect=lambda *_: pausing.set())
        if where == "before it begins":
            await watch.close()

        async def collect() -> list[object]:
            return [one async for one in watch]

        task = asyncio.create_task(collect())
        if where == "waiting":
            assert await asyncio.to_thread(streams.held.wait, PATIENCE)
        elif where == "in a pause":
            await asyncio.wait_for(pausing.wait(), PATIENCE)
        await watch.close()
        assert await asyncio.wait_for(task, PATIENCE) == []
        assert where != "waiting" or await asyncio.to_thread(streams.gone.wait, PATIENCE)


def test_a_watch_closed_while_its_stream_opens_ends(streams: Streams) -> None:
    def closing() -> str:
        watch.close()
        return "t"

    with Client(streams.stub.address, project=PROJECT, token=closing) as client, ThreadPoolExecutor(1) as pool:
        watch = client.watch(cursor="s:0", idle_timeout=PATIENCE * 2)
        got = pool.submit(list, watch)
        try:
            assert got.result(PATIENCE) == []
        finally:
            watch.close()


async def test_an_async_watch_closed_while_its_stream_opens_ends(streams: Streams) -> None:
    async def closing() -> str:
        await watch.close()
        return "t"

    async with AsyncClient(streams.stub.address, project=PROJECT, token=closing) as client:
        watch = client.watch(cursor="s:0", idle_timeout=PATIENCE * 2)
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(watch), PATIENCE)


def test_closing_the_client_is_a_failure_of_its_watches(streams: Streams) -> None:
    with Client(streams.stub.address, project=PROJECT) as client, ThreadPoolExecutor(1) as pool:
        reported: list[object] = []
        got = pool.submit(next, client.watch(cursor="s:0", on_reconnect=lambda *about: reported.append(about)))
        assert streams.held.wait(PATIENCE)
        client.close()
        with pytest.raises(BackupSharingError, match=r"^The client was closed\.$"):
            got.result(PATIENCE)
        assert reported == []


async def test_closing_the_async_client_is_a_failure_too(streams: Streams) -> None:
    async with AsyncClient(streams.stub.address, project=PROJECT) as client:
        task = asyncio.ensure_future(anext(client.watch(cursor="s:0")))
        assert await asyncio.to_thread(streams.held.wait, PATIENCE)
        await client.close()
        with pytest.raises(BackupSharingError, match=r"^The client was closed\.$"):
            await asyncio.wait_for(task, PATIENCE)


def test_a_forgotten_watch_ends_on_the_server(streams: Streams) -> None:
    streams.then(event(1))
    with Client(streams.stub.address, project=PROJECT) as client:
        for got in client.watch(cursor="s:0"):
            assert got.cursor == "s:1"
            break
        gc.collect()
        assert streams.gone.wait(PATIENCE)


async def test_a_cancelled_wait_can_be_taken_up_again(streams: Streams) -> None:
    streams.then(event(1)).then(event(2))
    async with AsyncClient(streams.stub.address, project=PROJECT) as client, client.watch(cursor="s:0") as watch:
        await anext(watch)
        waiting = asyncio.ensure_future(anext(watch))
        assert await asyncio.to_thread(streams.held.wait, PATIENCE)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await anext(watch)).cursor == "s:2" == watch.cursor
    assert streams.asked == ["s:0", "s:1"]


async def test_cancelling_the_task_of_a_watch_ends_its_stream(streams: Streams) -> None:
    async with AsyncClient(streams.stub.address, project=PROJECT) as client:
        waiting = asyncio.ensure_future(anext(client.watch(cursor="s:0")))
        assert await asyncio.to_thread(streams.held.wait, PATIENCE)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await asyncio.to_thread(streams.gone.wait, PATIENCE)


def test_members_of_an_event_are_those_that_were_sent(streams: Streams, caller: Caller) -> None:
    streams.then(event(1, backup_id="b", from_project_id="g", to_project_id="r", by_user_id="u"))

    def first(client: Client) -> object:
        watch = client.watch(cursor="s:0", backup_id="b", kind="shared")
        return anext(watch) if hasattr(watch, "__anext__") else [next(watch)]

    got = caller.do(first)
    (got,) = got if isinstance(got, list) else [got]
    assert (got.backup_id, got.from_project_id, got.to_project_id, got.by_user_id) == ("b", "g", "r", "u")
    assert (got.sharing_id, got.by_project_id, got.request_id) == (None, None, None)
