"""The pipeline of a call: request id, log, errors, identity, permission, use case."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from google.protobuf.message import Message

from backup_sharing.errors import DeadlineTooClose, Failure, ProxyRequired, TokenInvalid
from backup_sharing.identity.interface import Credentials, IdentityProvider, Peer
from backup_sharing.model import Principal
from backup_sharing.rpc.pipeline import Pipeline, PipelineResult, ServedMethod
from backup_sharing.store.interface import SharingFilter, Store
from backup_sharing.usecases.sharing import Caller
from backupsharing.v2 import backup_catalog_pb2 as catalog_pb
from backupsharing.v2 import backup_sharing_pb2 as pb
from tests.server.calls import (
    ANYBODY,
    CANCEL,
    COUNT,
    GATEWAY,
    GET,
    LIST,
    PUT,
    SHARE,
    call,
    cancel_message,
    failure,
    put_message,
    share_message,
)
from tests.server.failures import EXAMPLES
from tests.server.identities import GIVER, MADE_REQUEST_ID, OTHER, OUTSIDER, RECIPIENT, REQUEST_ID, TOKENS, identity

LogLines = Callable[[], list[dict[str, Any]]]
Handle = Callable[[Caller, Any], Awaitable[Message]]

CLIENTS_ID = "req-00000000-0000-4000-8000-00000000c11e"

COUNT_OF_GIVER = pb.CountSharingsRequest(project_id=GIVER)


class Exploding:
    """An identity provider with a defect."""

    challenge = 'Token realm="backup-sharing"'

    async def identify(self, credentials: Credentials) -> Principal:
        raise RuntimeError(f"cannot parse the answer for {len(credentials.token)} bytes")


def pipeline_of(handle: Handle, provider: IdentityProvider | None = None) -> Pipeline:
    method = ServedMethod(COUNT, pb.CountSharingsRequest, lambda request: request.project_id, handle)
    return Pipeline([method], provider or identity(), 1.0, lambda: MADE_REQUEST_ID)


def raising(error: Exception) -> Handle:
    async def handle(_: Caller, __: Message) -> Message:
        raise error

    return handle


async def answered(caller: Caller, _: Message) -> Message:
    return pb.CountSharingsResponse(count=7)


def trailer(answer: PipelineResult, key: str) -> str | bytes | None:
    return dict(answer.trailers).get(key)


def test_a_method_without_a_permission_refuses_to_start() -> None:
    method = ServedMethod("/backupsharing.v2.BackupSharingService/Forgotten", pb.CountSharingsRequest, None, answered)
    with pytest.raises(ValueError, match=r"without a permission in the policy: /backupsharing\.v2\.\S+/Forgotten"):
        Pipeline([method], identity(), 1.0, lambda: MADE_REQUEST_ID)


@pytest.mark.parametrize("token", ["", "unknown"])
async def test_a_caller_that_is_not_known_is_told_how_to_say_who_it_is(pipeline: Pipeline, token: str) -> None:
    answer = await pipeline.carry_out(call(COUNT, COUNT_OF_GIVER, token=token))
    assert failure(answer).code.name == "UNAUTHENTICATED"
    assert trailer(answer, "www-authenticate") == 'Token realm="backup-sharing"'


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
async def test_only_a_caller_that_is_not_known_is_challenged(error: Failure) -> None:
    answer = await pipeline_of(raising(error)).carry_out(call(COUNT, COUNT_OF_GIVER))
    by_proxy = isinstance(error, ProxyRequired)
    assert (trailer(answer, "proxy-authenticate") is not None) == by_proxy
    challenged = by_proxy or trailer(answer, "www-authenticate") is not None
    assert challenged == (failure(answer).code.name == "UNAUTHENTICATED")


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
async def test_a_failure_of_a_use_case_is_what_the_caller_is_told(error: Failure) -> None:
    answer = await pipeline_of(raising(error)).carry_out(call(COUNT, COUNT_OF_GIVER))
    # The pipeline alone knows how much time the call had: as much as the setting gives.
    reported = DeadlineTooClose(30.0, 1.0) if isinstance(error, DeadlineTooClose) else error
    assert (failure(answer).reason, failure(answer).message) == (reported.reason, reported.message)


async def test_a_defect_is_internal_and_keeps_its_text_to_itself(log_lines: LogLines) -> None:
    answer = await pipeline_of(raising(ZeroDivisionError("secret path"))).carry_out(call(COUNT, COUNT_OF_GIVER))
    reported = failure(answer)
    assert (reported.code.name, reported.reason, reported.request_id) == ("INTERNAL", "INTERNAL", REQUEST_ID)
    assert REQUEST_ID in reported.message
    assert b"secret" not in repr(answer).encode()
    assert b"ZeroDivision" not in repr(answer).encode()


async def test_the_cause_of_a_defect_is_logged_once_with_its_id(log_lines: LogLines) -> None:
    await pipeline_of(raising(ZeroDivisionError("secret path"))).carry_out(call(COUNT, COUNT_OF_GIVER))
    [line] = [line for line in log_lines() if line["event"] == "defect"]
    assert "secret path" not in str(line)
    assert any("test_pipeline.py" in frame for frame in line["exception"])
    assert (line["level"], line["request_id"], line["method"]) == ("error", REQUEST_ID, COUNT)
    assert "ZeroDivisionError" in line["exception"]


async def test_an_identity_provider_that_explodes_lets_nobody_in(log_lines: LogLines) -> None:
    called: list[Caller] = []

    async def handle(caller: Caller, _: Message) -> Message:
        called.append(caller)
        return pb.CountSharingsResponse()

    answer = await pipeline_of(handle, Exploding()).carry_out(call(COUNT, COUNT_OF_GIVER))
    assert failure(answer).reason == "INTERNAL"
    assert not called


async def test_a_cancelled_call_stays_cancelled_and_is_logged_as_such(log_lines: LogLines) -> None:
    reached = asyncio.Event()

    async def handle(_: Caller, __: Message) -> Message:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(pipeline_of(handle).carry_out(call(COUNT, COUNT_OF_GIVER)))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [line] = log_lines()
    assert (line["code"], line["user_id"]) == ("CANCELLED", "gina")


@pytest.mark.parametrize("request_", [b"\xff", b"\x0a\x02\xff\xfe", b"\x0a\x7f", b"\x00"])
async def test_a_request_that_is_no_message_is_an_invalid_argument(pipeline: Pipeline, request_: bytes) -> None:
    reported = failure(await pipeline.carry_out(call(SHARE, request_)))
    assert (reported.code.name, reported.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert reported.message == "The request is not a serialized backupsharing.v2.ShareBackupRequest."


async def test_an_empty_request_is_a_message_of_no_project(pipeline: Pipeline) -> None:
    assert failure(await pipeline.carry_out(call(SHARE, b""))).reason == "PROJECT_FORBIDDEN"


@pytest.mark.parametrize(
    "given",
    ["", "req-1", "REQ-00000000-0000-4000-8000-000000000001", REQUEST_ID.replace("1", "A"), REQUEST_ID + "\n",
     "req-" + "0" * 36, REQUEST_ID + "0"],
)  # fmt: skip
async def test_a_request_id_that_is_none_is_replaced(given: str) -> None:
    metadata = {"x-openstack-request-id": given, "x-auth-token": "giver-token"}
    answer = await pipeline_of(answered).carry_out(call(COUNT, COUNT_OF_GIVER, metadata=metadata))
    assert trailer(answer, "x-openstack-request-id") == MADE_REQUEST_ID


async def test_the_request_id_of_a_gateway_is_kept(log_lines: LogLines) -> None:
    answer = await pipeline_of(answered).carry_out(call(COUNT, COUNT_OF_GIVER))
    assert trailer(answer, "x-openstack-request-id") == REQUEST_ID
    assert (log_lines()[0]["request_id"], "client_request_id" in log_lines()[0]) == (REQUEST_ID, False)


async def test_a_caller_cannot_choose_its_request_id(log_lines: LogLines) -> None:
    callers: list[Caller] = []

    async def handle(caller: Caller, _: Message) -> Message:
        callers.append(caller)
        return pb.CountSharingsResponse()

    answer = await pipeline_of(handle).carry_out(call(COUNT, COUNT_OF_GIVER, peer=ANYBODY))
    assert trailer(answer, "x-openstack-request-id") == callers[0].request_id == MADE_REQUEST_ID
    [line] = log_lines()
    assert (line["request_id"], line["client_request_id"]) == (MADE_REQUEST_ID, REQUEST_ID)


@pytest.mark.parametrize("peer", [GATEWAY, ANYBODY])
async def test_the_id_of_a_gateways_client_is_logged_beside(log_lines: LogLines, peer: Peer) -> None:
    ids = {"x-openstack-request-id": REQUEST_ID, "x-client-request-id": CLIENTS_ID}
    metadata = {"x-auth-token": "giver-token", **ids}
    await pipeline_of(answered).carry_out(call(COUNT, COUNT_OF_GIVER, metadata=metadata, peer=peer))
    assert log_lines()[0]["client_request_id"] == CLIENTS_ID


@pytest.mark.parametrize("given", ["giver-token", "req-1", REQUEST_ID + "\n", "x" * 100_000])
async def test_a_clients_id_that_is_none_is_not_logged(log_lines: LogLines, given: str) -> None:
    metadata = {"x-auth-token": "giver-token", "x-openstack-request-id": REQUEST_ID, "x-client-request-id": given}
    await pipeline_of(answered).carry_out(call(COUNT, COUNT_OF_GIVER, metadata=metadata))
    assert "client_request_id" not in log_lines()[0]


async def test_a_failure_carries_the_request_id_in_both_places(pipeline: Pipeline) -> None:
    answer = await pipeline.carry_out(call(COUNT, COUNT_OF_GIVER, token="", metadata={}))
    assert trailer(answer, "x-openstack-request-id") == failure(answer).request_id == MADE_REQUEST_ID


@pytest.mark.parametrize(
    "metadata",
    [
        {"x-auth-token": "giver-token"},
        {"x-auth-token": "no-such-token"},
        {"authorization": "Bearer giver-token"},
        {"x-auth-token": "giver-token", "authorization": "Bearer no-such-token"},
        {"x-openstack-request-id": "giver-token", "x-auth-token": "no-such-token"},
    ],
)
async def test_no_log_line_holds_a_token(log_lines: LogLines, metadata: Mapping[str, str]) -> None:
    for handle in (answered, raising(RuntimeError("a defect"))):
        await pipeline_of(handle).carry_out(call(COUNT, COUNT_OF_GIVER, metadata=metadata))
    assert log_lines()
    assert not [line for line in log_lines() if "giver-token" in str(line) or "no-such-token" in str(line)]


async def test_a_call_writes_one_line_with_how_it_ended(log_lines: LogLines) -> None:
    await pipeline_of(answered).carry_out(call(COUNT, COUNT_OF_GIVER))
    [line] = log_lines()
    assert line.pop("ms") >= 0
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "call",
        "level": "info",
        "method": COUNT,
        "code": "OK",
        "reason": None,
        "request_id": REQUEST_ID,
        "project_id": GIVER,
        "user_id": "gina",
        "client": None,
        "peer": GATEWAY.address,
    }


async def test_a_refused_call_writes_one_line_with_the_reason(log_lines: LogLines) -> None:
    await pipeline_of(raising(TokenInvalid("unknown"))).carry_out(call(COUNT, COUNT_OF_GIVER, token="unknown"))
    [line] = log_lines()
    assert (line["code"], line["reason"], line["project_id"]) == ("UNAUTHENTICATED", "TOKEN_INVALID", None)


async def test_refusals_of_strangers_are_counted_when_they_come_fast(log_lines: LogLines) -> None:
    pipeline = pipeline_of(answered)
    for _ in range(300):
        await pipeline.carry_out(call(COUNT, COUNT_OF_GIVER, token="unknown"))
    await pipeline.carry_out(call(COUNT, COUNT_OF_GIVER))
    lines = log_lines()
    refused = [line for line in lines if line["code"] == "UNAUTHENTICATED"]
    assert 100 <= len(refused) < 300
    assert lines[-1]["code"] == "OK"


async def test_a_deadline_that_has_passed_stores_nothing(pipeline: Pipeline, store: Store) -> None:
    answer = await pipeline.carry_out(call(SHARE, share_message(), deadline=time.monotonic()))
    reported = failure(answer)
    assert (reported.code.name, reported.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_TOO_CLOSE")
    assert await store.count_sharings(SharingFilter(GIVER)) == 0


async def test_nothing_is_committed_within_the_margin_of_the_deadline() -> None:
    callers: list[Caller] = []

    async def handle(caller: Caller, _: Message) -> Message:
        callers.append(caller)
        return pb.CountSharingsResponse()

    soon = time.monotonic() + 20.0
    await pipeline_of(handle).carry_out(call(COUNT, COUNT_OF_GIVER, deadline=soon))
    assert callers == [Caller(TOKENS["giver-token"], REQUEST_ID, soon - 1.0, soon - 0.2)]


@pytest.mark.parametrize("seconds", [None, 500.0])
async def test_a_call_has_no_more_time_than_the_setting_gives(seconds: float | None) -> None:
    callers: list[Caller] = []

    async def handle(caller: Caller, _: Message) -> Message:
        callers.append(caller)
        return pb.CountSharingsResponse()

    deadline = None if seconds is None else time.monotonic() + seconds
    began = time.monotonic()
    await pipeline_of(handle).carry_out(call(COUNT, COUNT_OF_GIVER, deadline=deadline))
    assert callers[0].commit_by is not None
    assert began + 29.0 <= callers[0].commit_by <= time.monotonic() + 29.0


async def test_a_short_deadline_leaves_three_quarters_to_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    callers: list[Caller] = []

    async def handle(caller: Caller, _: Message) -> Message:
        callers.append(caller)
        return pb.CountSharingsResponse()

    began = time.monotonic()
    with monkeypatch.context() as clock:
        clock.setattr("backup_sharing.rpc.pipeline.time.monotonic", lambda: began)
        await pipeline_of(handle).carry_out(call(COUNT, COUNT_OF_GIVER, deadline=began + 0.4))
    [caller] = callers
    assert caller.commit_by is not None
    assert caller.answer_by is not None
    assert caller.commit_by == pytest.approx(began + 0.3, abs=1e-6)
    assert caller.commit_by < caller.answer_by < began + 0.4


class Stuck:
    """An identity provider that never replies."""

    challenge = 'Token realm="backup-sharing"'

    async def identify(self, _: Credentials) -> Principal:
        await asyncio.Event().wait()
        raise AssertionError


def of_both_kinds(handle: Handle, provider: IdentityProvider | None = None) -> Pipeline:
    """Return a pipeline with one change and one read, both with the same handler."""
    share = ServedMethod(SHARE, pb.ShareBackupRequest, lambda request: request.project_id, handle, about=lambda _: {})
    count = ServedMethod(COUNT, pb.CountSharingsRequest, lambda request: request.project_id, handle)
    return Pipeline([share, count], provider or identity(), 1.0, lambda: MADE_REQUEST_ID)


BOTH = [(SHARE, share_message()), (COUNT, COUNT_OF_GIVER)]
SOON = 0.05


@pytest.mark.parametrize("seconds", [0.0, SOON], ids=["passed", "passes"])
@pytest.mark.parametrize(("method", "request_message"), BOTH, ids=["change", "read"])
async def test_a_call_late_before_its_use_case_does_nothing(
    method: str, request_message: Message, seconds: float
) -> None:
    handled: list[object] = []

    async def handle(_: Caller, request: Message) -> Message:
        handled.append(request)
        return pb.CountSharingsResponse()

    late = call(method, request_message, deadline=time.monotonic() + seconds)
    reported = failure(await of_both_kinds(handle, Stuck()).carry_out(late))
    assert (reported.code.name, reported.reason) == ("DEADLINE_EXCEEDED", "DEADLINE_TOO_CLOSE")
    assert handled == []


async def test_a_deadline_ends_a_read_but_leaves_a_change_to_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    async def handle(_: Caller, __: Message) -> Message:
        await asyncio.sleep(4 * SOON)
        return pb.CountSharingsResponse()

    pipeline = of_both_kinds(handle)
    began = time.monotonic()
    with monkeypatch.context() as clock:  # it stands still until the use case has begun
        clock.setattr("backup_sharing.rpc.pipeline.time.monotonic", lambda: began)
        change = asyncio.create_task(pipeline.carry_out(call(SHARE, share_message(), deadline=began + SOON)))
        await asyncio.sleep(0)
    assert (await change).status is None
    reported = failure(await pipeline.carry_out(call(COUNT, COUNT_OF_GIVER, deadline=time.monotonic() + SOON)))
    assert reported.reason == "DEADLINE_TOO_CLOSE"


async def test_a_caller_that_goes_away_is_not_taken_for_the_deadline() -> None:
    begun = asyncio.Event()

    async def handle(_: Caller, __: Message) -> Message:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    going = asyncio.create_task(of_both_kinds(handle).carry_out(call(COUNT, COUNT_OF_GIVER)))
    await begun.wait()
    going.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going


async def test_another_time_out_is_not_taken_for_the_deadline() -> None:
    pipeline = pipeline_of(raising(TimeoutError()))
    reported = failure(await pipeline.carry_out(call(COUNT, COUNT_OF_GIVER, deadline=time.monotonic() + 500)))
    assert reported.code.name == "INTERNAL"


async def test_a_read_needs_no_time_to_commit(methods: Sequence[ServedMethod]) -> None:
    pipeline = Pipeline(methods, identity(), 60.0, lambda: MADE_REQUEST_ID)
    answer = await pipeline.carry_out(call(COUNT, COUNT_OF_GIVER, deadline=time.monotonic() + 20.0))
    assert answer.status is None


@pytest.mark.parametrize(
    ("method", "request_"), [(SHARE, share_message()), (CANCEL, cancel_message("x")), (PUT, put_message())]
)
async def test_a_reader_may_not_change_anything(pipeline: Pipeline, method: str, request_: Message) -> None:
    answer = await pipeline.carry_out(call(method, request_, token="reader-token"))
    assert failure(answer).reason == "ROLE_MISSING"


@pytest.mark.parametrize("token", ["reader-token", "giver-token", "admin-token"])
async def test_whoever_may_share_may_read(pipeline: Pipeline, token: str) -> None:
    for method, request in ((LIST, pb.ListSharingsRequest(project_id=GIVER)), (COUNT, COUNT_OF_GIVER)):
        assert (await pipeline.carry_out(call(method, request, token=token))).status is None


async def test_an_administrator_shares_for_the_project_it_names(pipeline: Pipeline) -> None:
    answer = await pipeline.carry_out(call(SHARE, share_message(), token="admin-token"))
    [given] = pb.ShareBackupResponse.FromString(answer.response).shared
    assert (given.from_project_id, given.to_project_id) == (GIVER, RECIPIENT)


async def test_a_service_may_use_the_catalogue(pipeline: Pipeline) -> None:
    answer = await pipeline.carry_out(call(PUT, put_message(name="n"), token="service-token"))
    assert catalog_pb.PutBackupResponse.FromString(answer.response).backup.name == "n"


@pytest.mark.parametrize("project_id", [GIVER, ""])
async def test_a_service_may_use_nothing_else(pipeline: Pipeline, project_id: str) -> None:
    for method in (LIST, COUNT, GET):
        request = pb.CountSharingsRequest(project_id=project_id)
        answer = await pipeline.carry_out(call(method, request, token="service-token"))
        assert failure(answer).code.name == "PERMISSION_DENIED"


@pytest.mark.parametrize("token", ["giver-token", "admin-token", "roleless-token"])
async def test_the_catalogue_is_for_services_only(pipeline: Pipeline, token: str) -> None:
    answer = await pipeline.carry_out(call(PUT, put_message(), token=token))
    assert failure(answer).reason == "ROLE_MISSING"


@pytest.mark.parametrize("project_id", [OTHER, OUTSIDER, "", GIVER.upper()])
async def test_a_project_that_is_not_the_tokens_is_refused(pipeline: Pipeline, project_id: str) -> None:
    answer = await pipeline.carry_out(call(COUNT, pb.CountSharingsRequest(project_id=project_id)))
    assert failure(answer).reason == "PROJECT_FORBIDDEN"


async def test_values_only_grpc_can_send_are_reported_with_the_others(pipeline: Pipeline) -> None:
    answer = await pipeline.carry_out(call(SHARE, share_message(of="abc", conflict_policy=99, idempotency_key="")))
    assert sorted(failure(answer).fields) == ["conflict_policy", "idempotency_key", "shared.backup_id"]


async def test_times_that_are_none_are_told_with_all_the_others(pipeline: Pipeline) -> None:
    never = {"seconds": 2**62}
    request = put_message(id="abc", created_at=never, updated_at=never, size=-1)
    answer = await pipeline.carry_out(call(PUT, request, token="service-token"))
    assert sorted(failure(answer).fields) == ["backup.created_at", "backup.id", "backup.size", "backup.updated_at"]
