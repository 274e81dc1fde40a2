"""Calls in frames, against a real gRPC server: each call succeeds or fails independently."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import grpc
import pytest

from backup_sharing.rpc.pipeline import Pipeline, ServedMethod
from multiplex.v1 import multiplex_pb2 as pb
from restmap.multiplexing.frames import FRAME_BYTES
from restmap.multiplexing.multiplexer import Multiplexer
from restmap.multiplexing.traffic import Traffic
from tests.server.calls import GET, GIVERS_TOKEN, LIST, SHARE, share_message
from tests.server.failure_details import failure_details
from tests.server.identities import MADE_REQUEST_ID
from tests.server.multiplexing import HUGE, STREAM, Client, Desk, asked, code_of, multiplexing, said

pytestmark = pytest.mark.usefixtures("quiet")


async def test_a_malformed_frame_ends_the_stream_as_invalid_argument(client: Client) -> None:
    await client.send_raw(b"\xff\xff\xff")
    assert await client.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_two_calls_with_one_id_are_an_invalid_argument(client: Client) -> None:
    await client.send(asked(7, "slow"), asked(7))
    assert await client.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "7" in (await client.stream.details() or "")


async def test_two_calls_with_one_id_in_two_frames_end_the_stream(client: Client, desk: Desk) -> None:
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
        LIST,  # not served by this server
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
async def test_one_failing_call_of_a_hundred_disturbs_no_other(client: Client, odd: pb.Call, code: str) -> None:
    await client.send(*(odd if number == 50 else asked(number) for number in range(100)))
    answers = dict(await client.answers(100))
    assert code_of(answers.pop(50)) == code
    assert {number: said(answer) for number, answer in answers.items()} == {n: f"id-{n}" for n in range(100) if n != 50}


async def test_a_failures_trailers_have_its_details_and_request_id(client: Client) -> None:
    await client.send(asked(1, token=""))
    answer = (await client.answers(1))[1]
    trailers = {entry.key: entry.value for entry in answer.trailers}
    assert failure_details(trailers["grpc-status-details-bin"]).request_id == MADE_REQUEST_ID
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


async def test_each_call_has_the_identity_of_its_own_token(methods: Sequence[ServedMethod], pipeline: Pipeline) -> None:
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
    multiplexer = Multiplexer(desk_pipeline, 1000, Traffic())
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


async def test_frames_of_failures_are_split_by_the_size_of_trailers(client: Client) -> None:
    number = 2000
    for first in range(0, number, 500):
        await client.send(*(asked(first + index, token="x" * 400) for index in range(500)))
    assert len(await client.answers(number)) == number
    assert max(frame.ByteSize() for frame in client.frames) < FRAME_BYTES + 1024


async def test_an_id_can_be_used_again_once_it_was_answered(client: Client) -> None:
    for name in ("one", "two"):
        await client.send(asked(1, name))
        assert said((await client.answers(1))[1]) == name
