"""Watches over real gRPC: who may watch, how a watch ends, and what stays behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from backup_sharing.errors import TokenInvalid
from backup_sharing.identity.interface import Credentials
from backup_sharing.model import Principal
from backup_sharing.rpc.pipeline import Pipeline
from backup_sharing.rpc.watching import streams
from backup_sharing.rpc.watching.ending import Ending
from backup_sharing.rpc.watching.rechecks import CHECK_SECONDS, Rechecks
from backup_sharing.rpc.watching.slots import WatchSlots
from backup_sharing.rpc.watching.streams import Streams
from backup_sharing.rpc.watching.watch_service import WatchService
from backup_sharing.usecases.watching.watch import Watch
from backup_sharing.usecases.watching.watches import Watches
from backupsharing.v2 import backup_access_pb2 as pb
from backupsharing.v2 import backup_access_pb2_grpc
from restmap.multiplexing.traffic import Traffic
from tests.server.calls import channel_to
from tests.server.failure_details import FailureDetails, failure_details_of, trailers_of
from tests.server.identities import GIVER, MADE_REQUEST_ID, OTHER, RECIPIENT, identity
from tests.server.rpc.test_unary import by
from tests.server.watching.fakes import STORE, Watchers, event

PATIENCE = 60.0
Stub = Any
"""A generated stub; grpc.aio has no types for it."""


class Revocable:
    """Static tokens, of which some were revoked."""

    challenge = "Token"

    def __init__(self) -> None:
        self.revoked: set[str] = set()

    async def identify(self, credentials: Credentials) -> Principal:
        return await identity().identify(credentials)

    async def identify_again(self, credentials: Credentials) -> Principal:
        if credentials.token in self.revoked:
            raise TokenInvalid("The token is unknown or has expired.")
        return await self.identify(credentials)


@dataclass
class Served:
    """A server of watches over a log in memory."""

    watchers: Watchers = field(default_factory=Watchers)
    identity: Revocable = field(default_factory=Revocable)
    most: int = 8
    of_project: int = 3

    def __post_init__(self) -> None:
        pipeline = Pipeline([], self.identity, 1.0, lambda: MADE_REQUEST_ID)
        timers = self.watchers.timers
        rechecks = Rechecks(self.identity, timers, lambda: 0.0, max_seconds=300.0)
        self.streams = Streams(pipeline.reception, WatchSlots(self.most, self.of_project), rechecks)
        self.service = WatchService(Watches(self.watchers.feed, self.watchers.encoding, 30.0, timers))

    def fill(self, server: grpc.aio.Server) -> None:
        handlers = streams.handlers(self.streams, self.service.methods(), Traffic())
        server.add_generic_rpc_handlers(tuple(handlers))


@pytest.fixture
def served() -> Served:
    return Served()


@pytest.fixture
async def stub(served: Served) -> AsyncIterator[Stub]:
    async with channel_to(served.fill) as channel:
        yield backup_access_pb2_grpc.BackupAccessServiceStub(channel)


def watch(stub: Stub, token: str, **members: object) -> Stub:
    metadata = by(token) if token else ()
    return stub.WatchSharings(pb.WatchSharingsRequest(**members), metadata=metadata, timeout=PATIENCE)


async def opened(stub: Stub, token: str, **members: object) -> Stub:
    """Open a watch from now, and wait until it has begun."""
    call = watch(stub, token, **members)
    assert not (await call.read()).HasField("event")
    return call


async def refused(call: Stub) -> FailureDetails:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await all_of(call)
    return failure_details_of(raised.value)


async def all_of(call: Stub) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not is_true():  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("token", "members", "reason"),
    [
        ("", {"project_id": GIVER}, "TOKEN_MISSING"),
        ("unknown", {"project_id": GIVER}, "TOKEN_INVALID"),
        ("giver-token", {"project_id": OTHER}, "PROJECT_FORBIDDEN"),
        ("giver-token", {}, "PROJECT_FORBIDDEN"),
        ("reader-token", {}, "PROJECT_FORBIDDEN"),
        ("roleless-token", {"project_id": GIVER}, "ROLE_MISSING"),
        ("giver-token", {"project_id": GIVER, "cursor": "x"}, "INVALID_REQUEST"),
        ("service-token", {"backup_id": "x"}, "BACKUP_ID_MALFORMED"),
        ("service-token", {"cursor": f"{STORE}:1"}, "CURSOR_EXPIRED"),
        ("service-token", {"cursor": f"{STORE}:3"}, "INVALID_REQUEST"),
    ],
)
async def test_a_watch_that_cannot_begin_says_why(
    served: Served, stub: Stub, token: str, members: dict[str, Any], reason: str
) -> None:
    served.watchers.log.purge(2)
    reported = await refused(watch(stub, token, **members))
    assert (reported.reason, reported.request_id) == (reason, MADE_REQUEST_ID)
    assert (served.streams.number, served.watchers.feed.is_idle) == (0, True)


async def test_an_expired_cursor_is_out_of_range_with_the_oldest(served: Served, stub: Stub) -> None:
    served.watchers.log.purge(2)
    reported = await refused(watch(stub, "service-token", cursor=f"{STORE}:1"))
    assert (reported.code, reported.metadata["oldest_cursor"]) == (grpc.StatusCode.OUT_OF_RANGE, f"{STORE}:2")


async def test_a_request_that_is_too_long_to_keep_is_refused(stub: Stub) -> None:
    reported = await refused(watch(stub, "service-token", backup_id="x" * 20_000))
    assert reported.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 16384" in reported.message


@pytest.mark.parametrize(
    ("token", "members"),
    [
        ("giver-token", {"project_id": GIVER}),
        ("reader-token", {"project_id": GIVER}),
        ("admin-token", {}),
        ("service-token", {}),
        ("admin-token", {"project_id": RECIPIENT}),
        ("service-token", {"project_id": RECIPIENT}),
    ],
)
async def test_givers_and_services_see_all_of_an_event(
    served: Served, stub: Stub, token: str, members: dict[str, Any]
) -> None:
    call = await opened(stub, token, **members)
    served.watchers.commit(event())
    message = await call.read()
    assert message.cursor == message.event.cursor == f"{STORE}:1"
    assert (message.event.kind, message.event.by_user_id, message.event.to_project_id) == ("shared", "gina", RECIPIENT)


async def test_a_recipient_sees_its_sharings_and_nothing_else(served: Served, stub: Stub) -> None:
    call = await opened(stub, "recipient-token", project_id=RECIPIENT)
    served.watchers.commit(event(OTHER), event(None, kind="backup_put"), event())
    message = await call.read()
    assert message.cursor == f"{STORE}:3"
    shown = {one.name for one, _ in message.event.ListFields()}
    assert shown == {"cursor", "kind", "time", "sharing_id", "backup_id", "from_project_id", "to_project_id"}


async def test_a_resumed_watch_gets_each_event_once(served: Served, stub: Stub) -> None:
    call = await opened(stub, "service-token")
    cursor = ""
    seen = []
    for number in range(5):
        served.watchers.commit(event(), event())
        for _ in range(1 + number % 2):
            message = await call.read()
            seen.append(message.cursor)
            cursor = message.cursor
        call.cancel()
        call = watch(stub, "service-token", cursor=cursor)
    while len(seen) < 10:
        seen.append((await call.read()).cursor)
    assert seen == [f"{STORE}:{number}" for number in range(1, 11)]


@pytest.mark.parametrize(("most", "of_project", "said"), [(2, 0, "2 watches are open"), (8, 2, "The project has 2")])
async def test_a_watch_too_many_is_overload_until_one_ends(most: int, of_project: int, said: str) -> None:
    served = Served(most=most, of_project=of_project)
    async with channel_to(served.fill) as channel:
        stub = backup_access_pb2_grpc.BackupAccessServiceStub(channel)
        calls = [await opened(stub, "giver-token", project_id=GIVER) for _ in range(2)]
        reported = await refused(watch(stub, "giver-token", project_id=GIVER))
        assert (reported.code, reported.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert said in reported.message
        assert reported.retry_seconds
        if of_project:
            calls.append(await opened(stub, "recipient-token", project_id=RECIPIENT))
        calls[0].cancel()
        await until(lambda: served.streams.number == 1 + bool(of_project))
        await opened(stub, "giver-token", project_id=GIVER)


async def test_draining_ends_every_watch_and_takes_no_more(served: Served, stub: Stub) -> None:
    calls = [await opened(stub, token) for token in ("service-token", "admin-token")]
    served.streams.drain()
    for call in [*calls, watch(stub, "service-token")]:
        reported = await refused(call)
        assert (reported.code, reported.reason) == (grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE")
        assert reported.retry_seconds
        assert "continue at another server with the last cursor" in reported.message
    await served.streams.closed()
    assert served.watchers.feed.is_idle


async def test_a_revoked_token_ends_its_watches_and_no_others(served: Served, stub: Stub) -> None:
    lost = [await opened(stub, "giver-token", project_id=GIVER) for _ in range(2)]
    kept = await opened(stub, "service-token")
    served.identity.revoked.add("giver-token")
    assert served.watchers.timers.fire(CHECK_SECONDS) == 2
    for call in lost:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        reported = failure_details_of(raised.value)
        assert (reported.code, reported.reason) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
        assert trailers_of(raised.value)["www-authenticate"] == "Token"
    served.watchers.commit(event())
    assert (await kept.read()).event.kind == "shared"


async def test_a_watch_is_logged_when_it_begins_and_when_it_ends(
    served: Served, stub: Stub, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    call = await opened(stub, "giver-token", project_id=GIVER)
    call.cancel()
    await until(lambda: served.streams.number == 0)
    await until(lambda: len(log_lines()) == 2)
    begun, ended = log_lines()
    assert (begun["event"], ended["event"], ended["code"]) == ("call begins", "call", "CANCELLED")
    for line in (begun, ended):
        assert line["method"] == "/backupsharing.v2.BackupAccessService/WatchSharings"
        assert (line["project_id"], line["user_id"], line["request_id"]) == (GIVER, "gina", MADE_REQUEST_ID)


async def test_a_refused_watch_is_audited(
    served: Served, stub: Stub, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    await refused(watch(stub, "giver-token", project_id=OTHER))
    await until(lambda: len(log_lines()) == 1)
    (line,) = log_lines()
    assert (line["code"], line["audit"], line["project_id"]) == ("PERMISSION_DENIED", "refused", GIVER)


async def test_a_client_that_does_not_read_stops_the_reading_for_it(served: Served, stub: Stub) -> None:
    served.watchers.log.add(*(event() for _ in range(20_000)))
    slow = watch(stub, "recipient-token", project_id=RECIPIENT, from_beginning=True)
    assert (await slow.read()).HasField("event")
    async with channel_to(served.fill) as channel:
        fast = watch(backup_access_pb2_grpc.BackupAccessServiceStub(channel), "service-token", from_beginning=True)
        for _ in range(20_000):
            assert (await fast.read()).HasField("event")
    assert len([each for each in served.watchers.encoding.encoded if each[1] == RECIPIENT]) < 20_000
    served.streams.drain()
    assert (await refused(slow)).reason == "UNAVAILABLE"


async def test_watches_opened_and_dropped_leave_nothing(served: Served, stub: Stub, quiet: None) -> None:
    stays = await opened(stub, "service-token")
    for _ in range(50):
        calls = [watch(stub, "giver-token", project_id=GIVER) for _ in range(3)]
        for call in calls[1:]:
            await call.read()
        for call in calls:
            call.cancel()
        await until(lambda: served.streams.number == 1)
    gc.collect()
    left = [each for each in gc.get_objects() if type(each) in (Watch, Ending)]
    assert len(left) == 2
    served.watchers.commit(event())
    assert (await stays.read()).HasField("event")
