"""REST responses for every failure behind the gateway, with a stub server that fails as configured."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Iterator

import grpc
import pytest
import pytest_asyncio
from google.protobuf.any_pb2 import Any as PackedMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, QuotaFailure, RetryInfo

from backupsharing.v2 import backup_sharing_pb2 as pb
from tests.support.ports import free_address
from tests.support.programs import Programs
from tests.support.rest import Rest, assert_failure, assert_success
from tests.support.stub_server import StubServer
from tests.support.system import System
from tests.support.tcp import serving
from tests.support.wire import Answer

pytestmark = pytest.mark.resilience

PATH = "/v2/project/os-vendor-backup-sharing"
BODY = {"shared": {"to_project_ids": ["recipient"], "backup_id": "066b1e37-9305-4057-97e5-2e99b21fc71d"}}
NONSENSE = b"\xff\xff\xff"
QUOTA = QuotaFailure(violations=[QuotaFailure.Violation(subject="backup:1", description="too many")])


async def read(rest: Rest, **headers: str) -> Answer:
    return await rest.call(
        "GET", f"{PATH}/count", headers={name.replace("_", "-"): text for name, text in headers.items()}
    )


async def write(rest: Rest) -> Answer:
    return await rest.call("POST", PATH, body=BODY)


@pytest.mark.parametrize(
    ("code", "status", "shown"),
    [
        ("CANCELLED", 408, "BackupSharing.0408"),
        ("UNKNOWN", 500, "AutoBackup.0009"),
        ("INVALID_ARGUMENT", 400, "VolumeBackup.0002"),
        ("DEADLINE_EXCEEDED", 504, "BackupSharing.0504"),
        ("NOT_FOUND", 404, "BackupSharing.0404"),
        ("ALREADY_EXISTS", 409, "BackupSharing.0409"),
        ("PERMISSION_DENIED", 403, "VolumeBackup.0042"),
        ("RESOURCE_EXHAUSTED", 503, "VolumeBackup.0900"),
        ("FAILED_PRECONDITION", 400, "VolumeBackup.0002"),
        ("ABORTED", 409, "BackupSharing.0409"),
        ("OUT_OF_RANGE", 400, "VolumeBackup.0002"),
        ("UNIMPLEMENTED", 501, "BackupSharing.0501"),
        ("INTERNAL", 500, "AutoBackup.0009"),
        ("UNAVAILABLE", 503, "VolumeBackup.0900"),
        ("DATA_LOSS", 500, "AutoBackup.0009"),
        ("UNAUTHENTICATED", 401, "AutoBackup.0002"),
    ],
)
async def test_each_grpc_code_has_its_status_for_reads_and_writes(
    stub: StubServer, stub_rest: Rest, code: str, status: int, shown: str
) -> None:
    stub.fails(grpc.StatusCode[code], "Why it failed.")
    # An interrupted write may be stored, so it is never 408 or 504, which guarantee that nothing is stored.
    of_a_write = (503, "VolumeBackup.0900") if code in CUT_SHORT else (status, shown)
    for answer, expected in ((await read(stub_rest), (status, shown)), (await write(stub_rest), of_a_write)):
        assert_failure(answer, *expected)
        assert ("Retry-After" in answer.headers) == (expected[0] == 503)
    reads = 2 if code == "UNAVAILABLE" else 1  # safe calls are retried once if the server is unreachable
    assert [seen.method.rpartition("/")[2] for seen in stub.seen] == [*["CountSharings"] * reads, "ShareBackup"]


def test_each_grpc_code_is_in_the_table_above() -> None:
    (mark,) = test_each_grpc_code_has_its_status_for_reads_and_writes.pytestmark  # type: ignore[attr-defined]
    assert {code for code, _, _ in mark.args[1]} == {code.name for code in grpc.StatusCode} - {"OK"}


async def test_resource_exhausted_with_a_quota_failure_is_403(stub: StubServer, stub_rest: Rest) -> None:
    stub.fails(grpc.StatusCode.RESOURCE_EXHAUSTED, "Used up.", QUOTA)
    answer = await write(stub_rest)
    assert_failure(answer, 403, "VolumeBackup.0042", "Used up.")
    assert "Retry-After" not in answer.headers


async def test_503_says_when_to_come_back_as_the_server_says(stub: StubServer, stub_rest: Rest) -> None:
    stub.fails(grpc.StatusCode.UNAVAILABLE, "Busy.", RetryInfo(retry_delay=Duration(seconds=6, nanos=1)))
    assert (await read(stub_rest)).headers["Retry-After"] == "7"


async def test_a_reason_of_our_domain_gives_its_own_code_and_message(stub: StubServer, stub_rest: Rest) -> None:
    info = ErrorInfo(reason="BACKUP_NOT_AVAILABLE", domain="backupsharing")
    stub.fails(grpc.StatusCode.FAILED_PRECONDITION, "It is being made.", info)
    answer = await write(stub_rest)
    assert_failure(answer, 400, "VolumeBackup.0089", "It is being made.")
    assert answer.error["reason"] == "BACKUP_NOT_AVAILABLE"


async def test_a_reason_of_a_newer_server_brings_its_code_along(stub: StubServer, stub_rest: Rest) -> None:
    info = ErrorInfo(reason="INVENTED_LATER", domain="backupsharing", metadata={"code": "BackupSharing.0999"})
    stub.fails(grpc.StatusCode.ABORTED, "New.", info)
    assert_failure(await write(stub_rest), 409, "BackupSharing.0999", "New.")


async def test_a_reason_of_a_foreign_domain_does_not_choose_the_code(stub: StubServer, stub_rest: Rest) -> None:
    info = ErrorInfo(reason="BACKUP_NOT_AVAILABLE", domain="elsewhere.example", metadata={"code": "Else.1"})
    stub.fails(grpc.StatusCode.FAILED_PRECONDITION, "Foreign.", info)
    assert_failure(await write(stub_rest), 400, "VolumeBackup.0002", "Foreign.")


async def test_violations_of_fields_become_details(stub: StubServer, stub_rest: Rest) -> None:
    violation = BadRequest.FieldViolation(field="shared.backup_id", description="is odd")
    stub.fails(grpc.StatusCode.INVALID_ARGUMENT, "Odd.", BadRequest(field_violations=[violation]))
    answer = await write(stub_rest)
    assert answer.error["details"] == [{"field": "shared.backup_id", "description": "is odd"}]


@pytest.mark.parametrize("trailer", [b"", NONSENSE, PackedMessage(type_url="t/x", value=b"y").SerializeToString()])
async def test_details_that_cannot_be_read_do_no_harm(stub: StubServer, stub_rest: Rest, trailer: bytes) -> None:
    stub.fails_with_trailer(grpc.StatusCode.NOT_FOUND, "Gone.", trailer)
    assert_failure(await read(stub_rest), 404, "BackupSharing.0404", "Gone.")


async def test_a_challenge_reaches_the_client_other_metadata_does_not(stub: StubServer, stub_rest: Rest) -> None:
    stub.fails(
        grpc.StatusCode.UNAUTHENTICATED, "Who?", www_authenticate='Keystone uri="https://id.example"', x_secret="inside"
    )
    answer = await read(stub_rest)
    assert_failure(answer, 401, "AutoBackup.0002", "Who?")
    assert answer.headers["WWW-Authenticate"] == 'Keystone uri="https://id.example"'
    assert "X-Secret" not in answer.headers


async def test_a_message_with_line_breaks_stays_inside_the_body(stub: StubServer, stub_rest: Rest) -> None:
    stub.fails(grpc.StatusCode.NOT_FOUND, "Gone.\r\nX-Injected: yes", www_authenticate="Token")
    answer = await read(stub_rest)
    assert_failure(answer, 404, "BackupSharing.0404", "\r\nX-Injected: yes")
    assert "X-Injected" not in answer.headers


async def test_501_when_the_server_lacks_the_call(stub: StubServer, stub_rest: Rest) -> None:
    stub.lacks_everything()
    assert_failure(await read(stub_rest), 501, "BackupSharing.0501")
    assert_failure(await write(stub_rest), 501, "BackupSharing.0501")


async def test_an_undecodable_answer_is_502_for_a_read_500_for_a_write(stub: StubServer, stub_rest: Rest) -> None:
    stub.answers(NONSENSE)
    assert_failure(await read(stub_rest), 502, "BackupSharing.0502")
    assert_failure(await write(stub_rest), 500, "AutoBackup.0009")


async def test_a_cancels_answer_without_a_place_in_rest_is_not_decoded(stub: StubServer, stub_rest: Rest) -> None:
    stub.answers(pb.CancelSharingResponse().SerializeToString())
    answer = await stub_rest.call("DELETE", f"{PATH}/066b1e37-9305-4057-97e5-2e99b21fc71d")
    assert (answer.status, answer.body) == (200, b"")


async def test_the_server_gets_token_trace_and_request_id_and_no_more(stub: StubServer, stub_rest: Rest) -> None:
    given = {
        "X-Auth-Token": "secret",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "X-Openstack-Request-Id": "req-066b1e37-9305-4057-97e5-2e99b21fc71d",
        "Cookie": "a=b",
        "X-Forwarded-For": "1.2.3.4",
        "Grpc-Metadata-Role": "admin",
        "X-Forwarded-Method": "DELETE",
        "X-Forwarded-Path": "/elsewhere",
    }
    answer = await stub_rest.call("GET", f"{PATH}/count", headers=given)
    assert_success(answer)
    metadata = stub.seen[0].metadata
    passed = {name.lower(): given[name] for name in ("X-Auth-Token", "traceparent")}
    # The gateway generates the request id, because a client could choose the id of another request.
    passed["x-client-request-id"] = given["X-Openstack-Request-Id"]
    assert {name: metadata.get(name) for name in passed} == passed
    assert metadata["x-openstack-request-id"] not in ("", given["X-Openstack-Request-Id"])
    # The rules of a token's access are about the request that the gateway got, whatever a client writes into headers.
    assert (metadata["x-forwarded-method"], metadata["x-forwarded-path"]) == ("GET", f"{PATH}/count")
    forwarded = {"x-forwarded-for", "x-forwarded-method", "x-forwarded-path"}
    assert set(metadata) == {*passed, *forwarded, "x-openstack-request-id", "user-agent"}


@pytest.fixture(scope="session")
def hasty_rest(_stub_server: StubServer, session_programs: Programs) -> Rest:
    """Gateway in front of the stub with a call timeout of 3 seconds and a commit margin of 0.2 seconds."""
    rest = Rest(free_address())
    session_programs.gateway(rest.address, _stub_server.address, "--timeout", "3", "--commit-margin", "0.2")
    return rest


async def test_a_read_that_is_never_answered_is_504_and_a_change_503(stub: StubServer, hasty_rest: Rest) -> None:
    stub.holds(b"")
    assert_failure(await read(hasty_rest), 504, "BackupSharing.0504", "deadline")
    assert_failure(await write(hasty_rest), 503, "VolumeBackup.0900", "may be stored")


CUT_SHORT = ("CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE", "RESOURCE_EXHAUSTED")
BY_KEY = "Send it again with the same Idempotency-Key to make sure."


@pytest.mark.parametrize("code", CUT_SHORT)
@pytest.mark.parametrize("reason", ["", "OUTCOME_UNKNOWN", "INVENTED_LATER", "INTERNAL"])
async def test_a_change_cut_short_without_a_word_may_be_stored(
    stub: StubServer, stub_rest: Rest, code: str, reason: str
) -> None:
    details = [ErrorInfo(reason=reason, domain="backupsharing", metadata={"code": "X.1"})] if reason else []
    stub.fails(grpc.StatusCode[code], "As the server says.", *details)
    for headers, advice in ({}, "Look before"), ({"Idempotency-Key": "k"}, BY_KEY):
        answer = await stub_rest.call("POST", PATH, body=BODY, headers=headers)
        assert answer.status == 503
        assert ("As the server says." if reason else f"its changes may be stored. {advice}") in answer.error["message"]


@pytest.mark.parametrize("code", CUT_SHORT)
@pytest.mark.parametrize("reason", ["DEADLINE_TOO_CLOSE", "OVERLOADED", "UNAVAILABLE", "IDENTITY_UNAVAILABLE"])
async def test_a_reason_that_nothing_was_done_is_believed(
    stub: StubServer, stub_rest: Rest, code: str, reason: str
) -> None:
    stub.fails(grpc.StatusCode[code], "Nothing was stored.", ErrorInfo(reason=reason, domain="backupsharing"))
    answer = await write(stub_rest)
    statuses = {"CANCELLED": 408, "DEADLINE_EXCEEDED": 504, "UNAVAILABLE": 503, "RESOURCE_EXHAUSTED": 503}
    assert answer.status == statuses[code]
    assert answer.error["message"] == "Nothing was stored."


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("DEADLINE_EXCEEDED", "DEADLINE_TOO_CLOSE"),
        ("RESOURCE_EXHAUSTED", "OVERLOADED"),
        ("UNAUTHENTICATED", "TOKEN_INVALID"),
    ],
)
async def test_a_second_attempt_does_not_hide_the_first_one(
    stub: StubServer, stub_rest: Rest, code: str, reason: str
) -> None:
    stub.fails(grpc.StatusCode.UNAVAILABLE)
    first = stub.behaviour
    stub.fails(grpc.StatusCode[code], "Nothing was stored.", ErrorInfo(reason=reason, domain="backupsharing"))
    second, attempts = stub.behaviour, iter((first, stub.behaviour))
    stub.behaves(lambda context: next(attempts, second)(context))
    answer = await stub_rest.call("POST", PATH, body=BODY, headers={"Idempotency-Key": "k"})
    assert_failure(answer, 503, "VolumeBackup.0900", f"may be stored. {BY_KEY}")
    assert len(stub.seen) == 2


async def test_a_foreign_reason_does_not_say_nothing_was_done(stub: StubServer, stub_rest: Rest) -> None:
    info = ErrorInfo(reason="DEADLINE_TOO_CLOSE", domain="elsewhere.example")
    stub.fails(grpc.StatusCode.DEADLINE_EXCEEDED, "Late.", info)
    assert_failure(await write(stub_rest), 503, "VolumeBackup.0900", "may be stored")


async def test_the_deadline_that_the_server_sees_is_the_callers(
    stub: StubServer, stub_rest: Rest, hasty_rest: Rest
) -> None:
    await read(stub_rest)
    await read(stub_rest, Grpc_Timeout="7S")
    await read(stub_rest, Grpc_Timeout="99999999H")
    await read(hasty_rest, Grpc_Timeout="1H")
    most = (30.0, 7.0, 30.0, 3.0)
    seconds = [seen.seconds or 0.0 for seen in stub.seen]
    assert all(0 < given <= limit for given, limit in zip(seconds, most, strict=True)), seconds
    # The remaining time exceeds the shorter limits, so they were not applied.
    assert seconds[0] > 7
    assert seconds[1] > 3


@pytest.mark.parametrize("given", ["5", "S", "-1S", "1s", "123456789S", "1.5S", ""])
async def test_a_malformed_timeout_is_400_and_nothing_is_called(stub: StubServer, stub_rest: Rest, given: str) -> None:
    assert_failure(await read(stub_rest, Grpc_Timeout=given), 400, "VolumeBackup.0002", "Grpc-Timeout")
    assert stub.seen == []


async def test_a_timeout_of_nothing_is_504_and_never_500(stub: StubServer, stub_rest: Rest) -> None:
    stub.holds(b"")
    assert_failure(await read(stub_rest, Grpc_Timeout="0S"), 504, "BackupSharing.0504")


@pytest.fixture
def absent_address() -> Iterator[str]:
    """Return an address that refuses connections and stays reserved."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{reserved.getsockname()[1]}"


async def test_503_when_the_server_is_down(programs: Programs, absent_address: str) -> None:
    rest = Rest(free_address())
    programs.gateway(rest.address, absent_address)
    for answer in (await read(rest), await write(rest)):
        assert_failure(answer, 503, "VolumeBackup.0900")
        assert int(answer.headers["Retry-After"]) >= 1
        assert absent_address not in answer.body.decode()


async def test_503_when_the_server_dies_during_the_call(own_system: System) -> None:
    giver = own_system.new_project()
    backup_id = own_system.put_backup(giver)
    with own_system.locked():
        waiting = asyncio.ensure_future(own_system.share(giver, backup_id, "recipient"))
        # Reads overtake the waiting change on the same connection to the server.
        assert await own_system.count(giver) == 0
        own_system.server.signal(signal.SIGKILL)
        assert_failure(await waiting, 503, "VolumeBackup.0900")
    assert own_system.rows(backup_id) == []


@pytest_asyncio.fixture
async def http1_address() -> AsyncIterator[str]:
    """Server that replies in HTTP/1.1 to every client."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\nwhat")
        await writer.drain()

    async with serving(answer) as address:
        yield address


async def test_502_when_what_is_behind_speaks_http_1(programs: Programs, http1_address: str) -> None:
    rest = Rest(free_address())
    await asyncio.to_thread(programs.gateway, rest.address, http1_address)
    assert_failure(await read(rest), 502, "BackupSharing.0502")
    assert_failure(await write(rest), 502, "BackupSharing.0502")
