"""Access checks and history over gRPC: permissions, masking, and the form of responses."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from backup_sharing.rpc.access_service import SERVICE
from backup_sharing.rpc.pipeline import Pipeline
from backupsharing.v2 import backup_access_pb2 as pb
from tests.server.calls import SHARE, call, failure, share_message
from tests.server.identities import BACKUP, GIVER, NOW, OTHER, OUTSIDER, RECIPIENT, REQUEST_ID, UNKNOWN

CHECK, CHECK_ALL = f"/{SERVICE}/CheckAccess", f"/{SERVICE}/BatchCheckAccess"
EVENTS = f"/{SERVICE}/ListSharingEvents"


@pytest.fixture(autouse=True)
async def shared(pipeline: Pipeline) -> None:
    """Share the giver's backup with two projects."""
    answered = await pipeline.carry_out(call(SHARE, share_message(RECIPIENT, OTHER)))
    assert answered.status is None


async def check(pipeline: Pipeline, token: str, backup_id: str, project_id: str) -> pb.CheckAccessResponse:
    answered = await pipeline.carry_out(
        call(CHECK, pb.CheckAccessRequest(backup_id=backup_id, project_id=project_id), token)
    )
    assert answered.status is None, answered.status
    return pb.CheckAccessResponse.FromString(answered.response)


async def events(pipeline: Pipeline, token: str, **members: object) -> pb.ListSharingEventsResponse:
    request = pb.ListSharingEventsRequest(**members)  # type: ignore[arg-type]  # keyword members
    answered = await pipeline.carry_out(call(EVENTS, request, token))
    assert answered.status is None, answered.status
    return pb.ListSharingEventsResponse.FromString(answered.response)


async def test_no_is_an_empty_answer_also_for_what_is_not_there(pipeline: Pipeline) -> None:
    said_no = [
        await check(pipeline, "outsider-token", BACKUP, RECIPIENT),
        await check(pipeline, "outsider-token", BACKUP, OUTSIDER),
        await check(pipeline, "outsider-token", UNKNOWN, OUTSIDER),
        await check(pipeline, "outsider-token", UNKNOWN, RECIPIENT),
        await check(pipeline, "service-token", UNKNOWN, RECIPIENT),
    ]
    assert {answer.cursor != "" for answer in said_no} == {True}
    assert len({answer.SerializeToString() for answer in said_no}) == 1
    assert said_no[0] == pb.CheckAccessResponse(cursor=said_no[0].cursor)


async def test_a_recipient_is_told_the_sharing_and_the_owner(pipeline: Pipeline) -> None:
    answer = await check(pipeline, "recipient-token", BACKUP, RECIPIENT)
    assert answer.allowed
    assert answer.basis == pb.ACCESS_BASIS_SHARING
    assert answer.owner_project_id == GIVER
    assert answer.sharing_id
    assert not answer.HasField("expire_time")


async def test_an_owner_has_access_without_a_sharing(pipeline: Pipeline) -> None:
    answer = await check(pipeline, "giver-token", BACKUP, GIVER)
    assert (answer.allowed, answer.basis, answer.HasField("sharing_id")) == (True, pb.ACCESS_BASIS_OWNER, False)


async def test_a_batch_has_one_cursor_and_answers_in_order(pipeline: Pipeline) -> None:
    checks = [
        pb.CheckAccessRequest(backup_id=BACKUP, project_id=project) for project in (OTHER, OUTSIDER, GIVER, RECIPIENT)
    ]
    answered = await pipeline.carry_out(call(CHECK_ALL, pb.BatchCheckAccessRequest(checks=checks), "service-token"))
    found = pb.BatchCheckAccessResponse.FromString(answered.response)
    assert [answer.allowed for answer in found.results] == [True, False, True, True]
    assert {answer.cursor for answer in found.results} == {""}
    assert found.cursor


@pytest.mark.parametrize(
    ("method", "request_"), [(CHECK, pb.CheckAccessRequest()), (CHECK_ALL, pb.BatchCheckAccessRequest())]
)
async def test_a_caller_without_a_role_may_not_ask(pipeline: Pipeline, method: str, request_: object) -> None:
    answered = await pipeline.carry_out(call(method, request_, "roleless-token"))  # type: ignore[arg-type]
    assert failure(answered).reason == "ROLE_MISSING"


async def test_a_recipient_sees_only_what_names_it_and_not_who_did_it(pipeline: Pipeline) -> None:
    found = await events(pipeline, "recipient-token", project_id=RECIPIENT)
    (event,) = found.events
    assert (event.kind, event.from_project_id, event.to_project_id) == ("shared", GIVER, RECIPIENT)
    assert [name for name in ("by_project_id", "by_user_id", "request_id") if event.HasField(name)] == []
    assert OTHER not in str(found)


@pytest.mark.parametrize(
    ("token", "project_id"), [("giver-token", GIVER), ("service-token", RECIPIENT), ("admin-token", RECIPIENT)]
)
async def test_giver_service_and_admin_see_who_did_it(pipeline: Pipeline, token: str, project_id: str) -> None:
    event = (await events(pipeline, token, project_id=project_id, kind="shared")).events[0]
    assert (event.by_project_id, event.by_user_id, event.request_id) == (GIVER, "gina", REQUEST_ID)
    assert event.time.ToMicroseconds() == NOW


async def test_the_giver_sees_every_recipient(pipeline: Pipeline) -> None:
    found = await events(pipeline, "giver-token", project_id=GIVER, kind="shared")
    assert [event.to_project_id for event in found.events] == [OTHER, RECIPIENT]
    assert found.events[0].cursor == found.cursor


@pytest.mark.parametrize(
    ("token", "project_id", "reason"),
    [
        ("giver-token", RECIPIENT, "PROJECT_FORBIDDEN"),
        ("giver-token", "", "PROJECT_FORBIDDEN"),
        ("roleless-token", GIVER, "ROLE_MISSING"),
    ],
)
async def test_the_history_of_others_is_refused(pipeline: Pipeline, token: str, project_id: str, reason: str) -> None:
    answered = await pipeline.carry_out(call(EVENTS, pb.ListSharingEventsRequest(project_id=project_id), token))
    assert failure(answered).reason == reason


@pytest.mark.parametrize("token", ["service-token", "admin-token"])
async def test_service_and_admin_may_leave_the_project_unset(pipeline: Pipeline, token: str) -> None:
    found = await events(pipeline, token)
    assert {event.from_project_id for event in found.events} == {GIVER, OUTSIDER}


async def test_a_time_is_rounded_up_to_a_microsecond(pipeline: Pipeline) -> None:
    exact = Timestamp(seconds=NOW // 1_000_000)
    later = Timestamp(seconds=NOW // 1_000_000, nanos=1)
    assert len((await events(pipeline, "giver-token", project_id=GIVER, start_time=exact)).events) == 4
    assert len((await events(pipeline, "giver-token", project_id=GIVER, start_time=later)).events) == 0
    assert len((await events(pipeline, "giver-token", project_id=GIVER, end_time=exact)).events) == 0
    assert len((await events(pipeline, "giver-token", project_id=GIVER, end_time=later)).events) == 4


async def test_an_impossible_time_is_named_with_the_other_faults(pipeline: Pipeline) -> None:
    request = pb.ListSharingEventsRequest(
        project_id=GIVER, start_time=Timestamp(nanos=-1), end_time=Timestamp(seconds=2**60), kind="x"
    )
    reported = failure(await pipeline.carry_out(call(EVENTS, request)))
    assert [field for field, _ in reported.violations] == ["start_time", "end_time", "kind"]
