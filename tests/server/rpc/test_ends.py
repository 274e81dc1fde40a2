"""The end of sharings, and calls that only check, over gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from backup_sharing.rpc import mapping
from backup_sharing.rpc.pipeline import Pipeline
from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2.sharing_pb2 import Sharing
from tests.server.calls import CANCEL, COUNT, GET, LIST, SHARE, call, cancel_message, failure, share_message
from tests.server.identities import BACKUP, GIVER, NOW, RECIPIENT, SECOND, Clock

pytestmark = pytest.mark.usefixtures("store")

END = mapping.timestamp(NOW + 10 * SECOND)


async def shared(pipeline: Pipeline, **members: object) -> Sharing:
    answer = await pipeline.carry_out(call(SHARE, share_message(**members)))
    assert answer.status is None
    (sharing,) = pb.ShareBackupResponse.FromString(answer.response).shared
    return sharing


async def counted(pipeline: Pipeline) -> int:
    answer = await pipeline.carry_out(call(COUNT, pb.CountSharingsRequest(project_id=GIVER)))
    return pb.CountSharingsResponse.FromString(answer.response).count


async def test_every_answer_has_the_end_of_a_sharing(pipeline: Pipeline) -> None:
    sharing = await shared(pipeline, expire_time=END)
    assert sharing.expire_time == END
    got = await pipeline.carry_out(call(GET, pb.GetSharingRequest(project_id=GIVER, id=sharing.id)))
    assert pb.GetSharingResponse.FromString(got.response).shared.expire_time == END
    listed = await pipeline.carry_out(call(LIST, pb.ListSharingsRequest(project_id=GIVER)))
    assert [each.expire_time for each in pb.ListSharingsResponse.FromString(listed.response).shared] == [END]
    cancelled = await pipeline.carry_out(call(CANCEL, cancel_message(sharing.id)))
    assert [each.expire_time for each in pb.CancelSharingResponse.FromString(cancelled.response).shared] == [END]


async def test_no_answer_has_an_end_that_was_not_given(pipeline: Pipeline) -> None:
    sharing = await shared(pipeline)
    assert not sharing.HasField("expire_time")
    got = await pipeline.carry_out(call(GET, pb.GetSharingRequest(project_id=GIVER, id=sharing.id)))
    assert not pb.GetSharingResponse.FromString(got.response).shared.HasField("expire_time")


async def test_a_sharing_is_not_found_after_its_end(pipeline: Pipeline, clock: Clock) -> None:
    sharing = await shared(pipeline, expire_time=END)
    clock.pass_(10)
    for method, request in (
        (GET, pb.GetSharingRequest(project_id=GIVER, id=sharing.id)),
        (CANCEL, cancel_message(sharing.id)),
    ):
        reported = failure(await pipeline.carry_out(call(method, request)))
        assert (reported.code, reported.reason) == (grpc.StatusCode.NOT_FOUND, "SHARING_NOT_FOUND")
    assert await counted(pipeline) == 0


@pytest.mark.parametrize(
    "end",
    [Timestamp(seconds=2**62), Timestamp(nanos=-1), Timestamp(), mapping.timestamp(NOW), mapping.timestamp(-SECOND)],
)
@pytest.mark.parametrize("key", [None, "k"])
async def test_a_wrong_end_is_refused_by_name(pipeline: Pipeline, end: Timestamp, key: str | None) -> None:
    request = share_message(expire_time=end, **({"idempotency_key": key} if key else {}))
    reported = failure(await pipeline.carry_out(call(SHARE, request)))
    assert (reported.code, reported.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert reported.fields == ["expire_time"]
    assert "expire_time" in reported.message
    assert await counted(pipeline) == 0


async def test_a_fraction_of_a_microsecond_is_no_time_after_now(pipeline: Pipeline) -> None:
    end = mapping.timestamp(NOW)
    end.nanos += 999
    assert failure(await pipeline.carry_out(call(SHARE, share_message(expire_time=end)))).fields == ["expire_time"]


async def test_a_share_that_only_checks_has_no_id(pipeline: Pipeline) -> None:
    sharing = await shared(pipeline, validate_only=True, expire_time=END)
    assert (sharing.id, sharing.to_project_id, sharing.expire_time) == ("", RECIPIENT, END)
    assert await counted(pipeline) == 0
    await shared(pipeline)
    reported = failure(await pipeline.carry_out(call(SHARE, share_message(validate_only=True))))
    assert reported.reason == "ALREADY_SHARED"


@pytest.mark.parametrize("is_backup_id", [False, True])
async def test_a_cancel_that_only_checks_cancels_nothing(pipeline: Pipeline, is_backup_id: bool) -> None:
    sharing = await shared(pipeline)
    request = cancel_message(BACKUP if is_backup_id else sharing.id, is_backup_id=is_backup_id, validate_only=True)
    answer = await pipeline.carry_out(call(CANCEL, request))
    (cancelled,) = pb.CancelSharingResponse.FromString(answer.response).shared
    assert (cancelled.id, cancelled.deleted) == (sharing.id, "true")
    assert await counted(pipeline) == 1


async def test_the_log_tells_checks_from_changes(
    pipeline: Pipeline, log_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    await shared(pipeline, validate_only=True)
    sharing = await shared(pipeline)
    await pipeline.carry_out(call(CANCEL, cancel_message(sharing.id, validate_only=True)))
    assert [line.get("validate_only") for line in log_lines()] == [True, None, True]
