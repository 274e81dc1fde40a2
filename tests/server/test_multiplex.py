"""Many calls over one stream, against a real gRPC server; the client writes its frames by hand."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from backupsharing.v2.backup_sharing_pb2 import CountSharingsRequest, CountSharingsResponse, GetSharingRequest
from multiplex.v1 import multiplex_pb2 as pb
from server.model import Sharing
from server.rpc.multiplex import FRAME_BYTES, SERVICE, Multiplexer
from server.rpc.pipeline import Method, Pipeline
from server.sharing import Caller
from server.store.interface import Share, Store
from tests.server.cast import GIVER, MADE_REQUEST_ID, identity
from tests.server.doors import COUNT, GET, GIVERS_TOKEN, LIST, SHARE, channel_to, share_message
from tests.server.told import told

PATIENCE = 30.0
STREAM = f"/{SERVICE}/Multiplex"
HUGE = 6 * 1024 * 1024

Stub = grpc.aio.StreamStreamMultiCallable


class Desk:
    """One method whose calls do what their id says, and otherwise say back what was asked."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.changed = asyncio.Condition()

    def method(self) -> Method:
        return Method(GET, GetSharingRequest, lambda request: str(request.project_id), self.handle)

    async def handle(self, _: Caller, request: GetSharingRequest) -> Message:
        await self._note(self.begun, request.id)
        try:
            match request.id.partition("-")[0]:
                case "slow":
                    await self.open.wait()
                case "broken":
                    raise RuntimeError("a defect")
                case "huge":
                    return GetSharingRequest(id="x" * HUGE)
                case "large":
                    return GetSharingRequest(id="x" * (FRAME_BYTES // 3))
        except asyncio.CancelledError:
            await self._note(self.cancelled, request.id)
            raise
        return request

    async def until(self, happened: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(happened)

    async def _note(self, notes: list[str], id: str) -> None:
        notes.append(id)
        async with self.changed:
            self.changed.notify_all()


class Client:
    """One stream; whatever is waited for must come within `PATIENCE`."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        multicallable: Stub = channel.stream_stream(STREAM, _serialized, pb.MultiplexResponse.FromString)
        self.stream = multicallable()
        self.frames: list[pb.MultiplexResponse] = []

    async def frame(self) -> pb.MultiplexResponse | None:
        """The next frame; None at the end of the stream."""
        async with asyncio.timeout(PATIENCE):
            frame = await self.stream.read()
        if not isinstance(frame, pb.MultiplexResponse):
            return None
        self.frames.append(frame)
        return frame

    async def send(self, *calls: pb.Call, cancel: Sequence[int] = ()) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.stream.write(pb.MultiplexRequest(calls=calls, cancelled_ids=cancel))

    async def send_raw(self, frame: bytes) -> None:
        await self.stream.write(frame)  # type: ignore[arg-type]  # what is no frame

    async def answers(self, number: int) -> Mapping[int, pb.Answer]:
        """The next answers, by id."""
        found: dict[int, pb.Answer] = {}
        while len(found) < number:
            frame = await self.frame()
            assert frame is not None, f"the stream ended after {len(found)} of {number} answers"
            for answer in frame.answers:
                assert answer.id not in found, "a call has exactly one answer"
                found[answer.id] = answer
        return found

    async def rest(self) -> Sequence[pb.MultiplexResponse]:
        """End this side, and take what is left."""
        await self.stream.done_writing()
        before = len(self.frames)
        while await self.frame() is not None:
            pass
        return self.frames[before:]

    async def code(self) -> grpc.StatusCode:
        async with asyncio.timeout(PATIENCE):
            return await self.stream.code()


def _serialized(frame: pb.MultiplexRequest | bytes) -> bytes:
    return frame if isinstance(frame, bytes) else frame.SerializeToString()


def asked(
    number: int,
    id: str = "",
    *,
    method: str = GET,
    token: str = GIVERS_TOKEN,
    request: bytes | None = None,
    **m: object,
) -> pb.Call:
    metadata = [pb.Metadatum(key="x-auth-token", value=token.encode())] if token else []
    raw = GetSharingRequest(project_id=GIVER, id=id or f"id-{number}").SerializeToString()
    return pb.Call(id=number, method=method, request=raw if request is None else request, metadata=metadata, **m)  # type: ignore[arg-type]  # by name


def said(answer: pb.Answer) -> str:
    """The id that a call of the desk said back."""
    assert answer.code == 0, answer
    return GetSharingRequest.FromString(answer.response).id


def code_of(answer: pb.Answer) -> str:
    return next(code.name for code in grpc.StatusCode if code.value[0] == answer.code)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No test may leave a complaint of asyncio or gRPC, but for gRPC's own word that a stream was cancelled."""
    yield
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
    cancelled = [each for each in warned if each.exc_info and each.exc_info[0] is asyncio.CancelledError]
    assert [record.getMessage() for record in warned if record not in cancelled] == []


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def desk_pipeline(desk: Desk) -> Pipeline:
    return Pipeline([desk.method()], identity(), commit_margin=0.0, new_request_id=lambda: MADE_REQUEST_ID)


@asynccontextmanager
async def multiplexing(pipeline: Pipeline, max_in_flight: int = 1000) -> AsyncIterator[tuple[Client, Multiplexer]]:
    """A client that has seen the server's first frame."""
    multiplexer = Multiplexer(pipeline, max_in_flight)
    async with channel_to(lambda server: server.add_generic_rpc_handlers((multiplexer.handler(),))) as channel:
        client = Client(channel)
        hello = await client.frame()
        assert hello == pb.MultiplexResponse(max_in_flight=max_in_flight)
        yield client, multiplexer


@pytest.fixture
async def client(desk_pipeline: Pipeline) -> AsyncIterator[Client]:
    async with multiplexing(desk_pipeline) as (client, _):
        yield client


async def test_a_frame_that_is_none_ends_the_stream_with_invalid_argument(client: Client) -> None:
    await client.send_raw(b"\xff\xff\xff")
    assert await client.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_two_calls_with_one_id_end_the_stream_with_invalid_argument(client: Client) -> None:
    await client.send(asked(7, "slow"), asked(7))
    assert await client.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "7" in (await client.stream.details() or "")


async def test_two_calls_with_one_id_in_two_frames_end_the_stream_and_its_calls(client: Client, desk: Desk) -> None:
    await client.send(asked(7, "slow"))
    await desk.until(lambda: desk.begun == ["slow"])
    await client.send(asked(7))
    assert await client.code() is grpc.StatusCode.INVALID_ARGUMENT
    await desk.until(lambda: desk.cancelled == ["slow"])


@pytest.mark.parametrize(
    "method",
    [
        STREAM,
        "/grpc.health.v1.Health/Check",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/backupsharing.v2.BackupAccessService/WatchBackups",
        LIST,  # which this server does not serve
        GET.removeprefix("/"),
        "",
        "é" * 300,
    ],
)
async def test_a_stream_cannot_name_what_is_not_in_the_table(client: Client, method: str) -> None:
    await client.send(asked(1, method=method), asked(2))
    answers = await client.answers(2)
    assert code_of(answers[1]) == "UNIMPLEMENTED"
    assert said(answers[2]) == "id-2"


@pytest.mark.parametrize(
    ("odd", "code"),
    [
        (asked(50, token=""), "UNAUTHENTICATED"),
        (asked(50, token="nobodys"), "UNAUTHENTICATED"),
        (asked(50, token="outsider-token"), "PERMISSION_DENIED"),
        (asked(50, request=b"\xff\xff"), "INVALID_ARGUMENT"),
        (asked(50, method=""), "UNIMPLEMENTED"),
        (asked(50, "slow", timeout_ms=1), "DEADLINE_EXCEEDED"),
        (asked(50, "slow", timeout_ms=0), "DEADLINE_EXCEEDED"),
    ],
)
async def test_one_failing_call_of_a_hundred_changes_nothing_for_the_others(
    client: Client, odd: pb.Call, code: str
) -> None:
    await client.send(*(odd if number == 50 else asked(number) for number in range(100)))
    answers = dict(await client.answers(100))
    assert code_of(answers.pop(50)) == code
    assert {number: said(answer) for number, answer in answers.items()} == {n: f"id-{n}" for n in range(100) if n != 50}


async def test_a_failure_has_its_details_and_request_id_in_its_trailers(client: Client) -> None:
    await client.send(asked(1, token=""))
    answer = (await client.answers(1))[1]
    trailers = {entry.key: entry.value for entry in answer.trailers}
    assert told(trailers["grpc-status-details-bin"]).request_id == MADE_REQUEST_ID
    assert trailers["x-openstack-request-id"] == MADE_REQUEST_ID.encode()
    assert b"realm" in trailers["www-authenticate"]
    assert answer.response == b""


async def test_a_defect_in_one_call_changes_nothing_for_the_others(
    client: Client, caplog: pytest.LogCaptureFixture, log_lines: Callable[[], list[dict[str, object]]]
) -> None:
    await client.send(*(asked(number, "broken" if number == 50 else "") for number in range(100)))
    answers = dict(await client.answers(100))
    assert code_of(answers.pop(50)) == "INTERNAL"
    assert {said(answer) for answer in answers.values()} == {f"id-{n}" for n in range(100) if n != 50}


async def test_each_call_has_the_identity_of_its_own_token(methods: Sequence[Method], pipeline: Pipeline) -> None:
    asks = {1: "reader-token", 2: "giver-token", 3: "recipient-token", 4: "", 5: "admin-token"}
    async with multiplexing(pipeline) as (client, _):
        request = share_message(of="ffffffff-ffff-4fff-8fff-ffffffffffff").SerializeToString()
        await client.send(*(asked(n, method=SHARE, request=request, token=token) for n, token in asks.items()))
        answers = await client.answers(5)
    assert {number: code_of(answer) for number, answer in answers.items()} == {
        1: "PERMISSION_DENIED",
        2: "NOT_FOUND",
        3: "PERMISSION_DENIED",
        4: "UNAUTHENTICATED",
        5: "NOT_FOUND",
    }


async def test_binary_metadata_is_no_token(client: Client) -> None:
    call = asked(1, token="")
    call.metadata.add(key="x-auth-token-bin", value=GIVERS_TOKEN.encode())
    call.metadata.add(key="odd-bin", value=b"\xff\x00")
    await client.send(call)
    assert code_of((await client.answers(1))[1]) == "UNAUTHENTICATED"


async def test_a_slow_call_holds_up_nobody(client: Client, desk: Desk) -> None:
    await client.send(*(asked(number, "slow" if number == 0 else "") for number in range(100)))
    assert set(await client.answers(99)) == set(range(1, 100))
    desk.open.set()
    assert said((await client.answers(1))[0]) == "slow"


async def test_a_huge_answer_arrives_in_a_frame_of_its_own(desk_pipeline: Pipeline) -> None:
    multiplexer = Multiplexer(desk_pipeline, 1000)
    handlers = (multiplexer.handler(),)
    options = [("grpc.max_receive_message_length", -1)]
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(handlers)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            client = Client(channel)
            await client.frame()
            await client.send(*(asked(number, "huge" if number == 50 else "") for number in range(100)))
            answers = await client.answers(100)
    finally:
        await server.stop(None)
    assert len(said(answers[50])) == HUGE
    assert [len(frame.answers) for frame in client.frames if frame.ByteSize() > HUGE] == [1]
    assert all(said(answers[n]) == f"id-{n}" for n in range(100) if n != 50)


async def test_frames_of_answers_are_split(client: Client) -> None:
    await client.send(*(asked(number, f"large-{number}") for number in range(20)))
    assert len(await client.answers(20)) == 20
    assert max(frame.ByteSize() for frame in client.frames) < FRAME_BYTES + 1024


async def test_frames_of_failures_are_split_by_the_size_of_their_trailers(client: Client) -> None:
    number = 2000
    for first in range(0, number, 500):
        await client.send(*(asked(first + index, token="x" * 400) for index in range(500)))
    assert len(await client.answers(number)) == number
    assert max(frame.ByteSize() for frame in client.frames) < FRAME_BYTES + 1024


async def test_a_cancel_ends_its_call_and_no_other(client: Client, desk: Desk) -> None:
    await client.send(*(asked(number, f"slow-{number}") for number in range(100)))
    await desk.until(lambda: len(desk.begun) == 100)
    await client.send(cancel=[50, 4711])
    await desk.until(lambda: desk.cancelled == ["slow-50"])
    desk.open.set()
    assert set(await client.answers(99)) == set(range(100)) - {50}
    assert await client.rest() == []


async def test_a_call_cancelled_in_the_next_frame_leaves_nothing_behind(client: Client, desk: Desk) -> None:
    for number in range(200):
        await client.send(asked(number, "slow"))
        await client.send(cancel=[number])
    assert [answer for frame in await client.rest() for answer in frame.answers] == []
    assert await client.code() is grpc.StatusCode.OK


async def test_a_cancelled_change_that_waits_for_the_store_is_not_made(
    pipeline: Pipeline, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived = asyncio.Semaphore(0)
    share = type(store).share

    async def noticed(self: Store, command: Share) -> Sequence[Sharing]:
        arrived.release()
        return await share(self, command)

    monkeypatch.setattr(type(store), "share", noticed)
    shares = {number: share_message(f"recipient-{number}").SerializeToString() for number in range(1, 4)}
    count = CountSharingsRequest(project_id=GIVER).SerializeToString()
    async with multiplexing(pipeline) as (client, _):
        with closing(sqlite3.connect(tmp_path / "sharings.db", isolation_level=None)) as blocker:
            blocker.execute("BEGIN IMMEDIATE")
            for number, request in shares.items():
                await client.send(asked(number, method=SHARE, request=request))
                await arrived.acquire()
            await client.send(asked(9, method="none"), cancel=[2])
            assert set(await client.answers(1)) == {9}
        assert {number: answer.code for number, answer in (await client.answers(2)).items()} == {1: 0, 3: 0}
        await client.send(asked(10, method=COUNT, request=count))
        assert CountSharingsResponse.FromString((await client.answers(1))[10].response).count == 2


async def test_an_id_can_be_used_again_once_it_was_answered(client: Client) -> None:
    for name in ("one", "two"):
        await client.send(asked(1, name))
        assert said((await client.answers(1))[1]) == name


async def test_the_server_carries_out_no_more_at_once_than_it_said(desk_pipeline: Pipeline, desk: Desk) -> None:
    async with multiplexing(desk_pipeline, max_in_flight=3) as (client, _):
        await client.send(*(asked(number, f"slow-{number}") for number in range(10)))
        await desk.until(lambda: len(desk.begun) == 3)
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(100)))
        assert len(desk.begun) == 3
        desk.open.set()
        assert len(await client.answers(10)) == 10


async def test_the_end_of_the_clients_side_lets_all_calls_be_answered(client: Client, desk: Desk) -> None:
    await client.send(asked(1, "slow"))
    await client.stream.done_writing()
    await desk.until(lambda: desk.begun == ["slow"])
    desk.open.set()
    assert said((await client.answers(1))[1]) == "slow"
    assert await client.frame() is None
    assert await client.code() is grpc.StatusCode.OK


async def test_a_drain_is_told_and_calls_in_progress_are_answered(desk_pipeline: Pipeline, desk: Desk) -> None:
    async with multiplexing(desk_pipeline) as (client, multiplexer):
        await client.send(asked(1, "slow"))
        await desk.until(lambda: desk.begun == ["slow"])
        multiplexer.drain()
        assert await client.frame() == pb.MultiplexResponse(draining=True)
        await client.send(asked(2))  # it crossed with the drain
        assert said((await client.answers(1))[2]) == "id-2"
        desk.open.set()
        assert [len(frame.answers) for frame in await client.rest()] == [1]
        assert await client.code() is grpc.StatusCode.OK


async def test_a_drain_that_begins_while_the_server_writes_is_told(
    desk_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[pb.MultiplexResponse] = []
    told_of = asyncio.Event()
    multiplexer = Multiplexer(desk_pipeline, 10)

    class Context:
        """A stream whose server begins to drain in the midst of its first frame of answers."""

        def peer(self) -> str:
            return "peer"

        def __init__(self) -> None:
            self.frames = iter([pb.MultiplexRequest(calls=[asked(1)]).SerializeToString()])

        async def read(self) -> object:
            if (frame := next(self.frames, None)) is None:
                await told_of.wait()
            return frame or grpc.aio.EOF

        async def write(self, frame: pb.MultiplexResponse) -> None:
            written.append(frame)
            if frame.answers:
                multiplexer.drain()
                await asyncio.sleep(0)
            if frame.draining:
                told_of.set()

    async with asyncio.timeout(PATIENCE):
        await multiplexer._serve(None, Context())  # type: ignore[arg-type]  # what it uses of one
    assert [frame.draining for frame in written] == [False, False, True]


async def test_a_stream_that_opens_while_the_server_drains_is_told(desk_pipeline: Pipeline) -> None:
    multiplexer = Multiplexer(desk_pipeline, 5)
    multiplexer.drain()
    async with channel_to(lambda server: server.add_generic_rpc_handlers((multiplexer.handler(),))) as channel:
        client = Client(channel)
        assert await client.frame() == pb.MultiplexResponse(max_in_flight=5)
        assert await client.frame() == pb.MultiplexResponse(draining=True)
        assert await client.rest() == []


async def test_a_stream_that_breaks_cancels_its_calls_and_no_others(desk_pipeline: Pipeline, desk: Desk) -> None:
    multiplexer = Multiplexer(desk_pipeline, 500)
    async with channel_to(lambda server: server.add_generic_rpc_handlers((multiplexer.handler(),))) as channel:
        first, second = Client(channel), Client(channel)
        for index, client in enumerate((first, second)):
            await client.frame()
            await client.send(*(asked(number, f"slow-{index}-{number}") for number in range(50)))
        await desk.until(lambda: len(desk.begun) == 100)
        first.stream.cancel()
        await desk.until(lambda: len(desk.cancelled) == 50)
        assert {name[:6] for name in desk.cancelled} == {"slow-0"}
        desk.open.set()
        assert len(await second.answers(50)) == 50


@pytest.mark.parametrize("turns", range(12))
async def test_a_stream_may_break_at_any_moment(desk_pipeline: Pipeline, turns: int) -> None:
    multiplexer = Multiplexer(desk_pipeline, 500)
    async with channel_to(lambda server: server.add_generic_rpc_handlers((multiplexer.handler(),))) as channel:
        clients = [Client(channel) for _ in range(10)]
        for client, numbers in itertools.product(clients, (range(20), range(20, 40))):
            if numbers.start == 0 and turns < 2:
                continue
            await client.send(*(asked(number, f"large-{number}") for number in numbers))
        for _ in range(turns):
            await asyncio.sleep(0)
        for client in clients:
            client.stream.cancel()
        survivor = Client(channel)
        await survivor.frame()
        await survivor.send(asked(1))
        assert said((await survivor.answers(1))[1]) == "id-1"


async def test_a_server_that_stops_cancels_what_is_in_progress_and_leaves_no_task(
    desk_pipeline: Pipeline, desk: Desk
) -> None:
    before = asyncio.all_tasks()
    async with multiplexing(desk_pipeline) as (client, _):
        await client.send(*(asked(number, f"slow-{number}") for number in range(20)))
        await desk.until(lambda: len(desk.begun) == 20)
    await desk.until(lambda: len(desk.cancelled) == 20)
    left = [task for task in asyncio.all_tasks() - before if "multiplex" in str(task.get_coro())]
    await asyncio.gather(*left, return_exceptions=True)
    assert [task for task in asyncio.all_tasks() - before if "Stream" in str(task.get_coro())] == []
