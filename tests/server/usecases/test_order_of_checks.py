"""A call with two errors reports the one that the contract lists first; one test per neighbouring pair."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from backup_sharing.rpc.pipeline import Pipeline, ServedMethod
from backup_sharing.rpc.sharing_service import SharingService
from backup_sharing.usecases.catalog import Catalog
from backup_sharing.usecases.sharing import Caller, SharingLimits, Sharings
from backupsharing.v2 import backup_sharing_pb2 as pb
from tests.server.calls import CANCEL, GET, PUT, SHARE, call, cancel_message, failure, put_message, share_message
from tests.server.identities import (
    BACKUP,
    MADE_REQUEST_ID,
    OTHER,
    OUTSIDER,
    RECIPIENT,
    UNKNOWN,
    backup,
    cancel,
    identity,
    share,
)

SetStatus = Callable[[str, str], Awaitable[None]]


async def test_no_token_is_told_before_a_foreign_project(pipeline: Pipeline) -> None:
    answer = await pipeline.carry_out(call(SHARE, share_message(by=OTHER), token=""))
    assert failure(answer).reason == "TOKEN_MISSING"


async def test_an_unknown_token_precedes_a_malformed_request(pipeline: Pipeline) -> None:
    answer = await pipeline.carry_out(call(SHARE, b"\xff", token="unknown"))
    assert failure(answer).reason == "TOKEN_INVALID"


async def test_a_foreign_project_is_told_before_a_role_that_is_too_low(pipeline: Pipeline) -> None:
    answer = await pipeline.carry_out(call(SHARE, share_message(by=OTHER), token="reader-token"))
    assert failure(answer).reason == "PROJECT_FORBIDDEN"


async def test_a_foreign_project_is_told_before_bad_values(pipeline: Pipeline) -> None:
    answer = await pipeline.carry_out(call(SHARE, share_message("a b", of="abc", by=OTHER)))
    assert failure(answer).reason == "PROJECT_FORBIDDEN"


async def test_a_role_that_is_too_low_is_told_before_bad_values(pipeline: Pipeline) -> None:
    answer = await pipeline.carry_out(call(SHARE, share_message("a b", of="abc"), token="reader-token"))
    assert failure(answer).reason == "ROLE_MISSING"


@pytest.mark.parametrize("members", [{"conflict_policy": 99}, {"idempotency_key": ""}])
async def test_a_low_role_precedes_bad_values_of_grpc(pipeline: Pipeline, members: dict[str, object]) -> None:
    answer = await pipeline.carry_out(call(SHARE, share_message(**members), token="reader-token"))
    assert failure(answer).reason == "ROLE_MISSING"


async def test_a_low_role_precedes_a_malformed_time(pipeline: Pipeline) -> None:
    answer = await pipeline.carry_out(call(PUT, put_message(created_at={"seconds": 2**62})))
    assert failure(answer).reason == "ROLE_MISSING"


async def test_bad_values_are_told_before_a_backup_that_is_not_there(pipeline: Pipeline) -> None:
    answer = await pipeline.carry_out(call(SHARE, share_message("a b", of=UNKNOWN)))
    assert failure(answer).reason == "INVALID_REQUEST"


async def test_a_malformed_key_precedes_a_missing_sharing(pipeline: Pipeline) -> None:
    answer = await pipeline.carry_out(call(CANCEL, cancel_message(UNKNOWN, idempotency_key="")))
    assert failure(answer).reason == "INVALID_REQUEST"


async def test_a_cancelled_sharing_precedes_the_refusal_of_a_recipient(
    pipeline: Pipeline, sharings: Sharings, caller: Caller
) -> None:
    [given] = await sharings.share(caller, share())
    await sharings.cancel(caller, cancel(given.id))
    answer = await pipeline.carry_out(call(CANCEL, cancel_message(given.id, by=RECIPIENT), token="recipient-token"))
    assert failure(answer).reason == "SHARING_NOT_FOUND"


async def test_the_recipient_is_refused_before_a_key_that_was_used(
    pipeline: Pipeline, sharings: Sharings, catalog: Catalog, caller: Caller
) -> None:
    [given] = await sharings.share(caller, share())
    await catalog.put(caller, backup(UNKNOWN, RECIPIENT))
    await sharings.cancel(caller, cancel(UNKNOWN, by=RECIPIENT, key="k", is_backup_id=True))
    request = cancel_message(given.id, by=RECIPIENT, idempotency_key="k")
    answer = await pipeline.carry_out(call(CANCEL, request, token="recipient-token"))
    assert failure(answer).reason == "NOT_THE_GIVER"


async def test_a_missing_backup_precedes_a_used_key(pipeline: Pipeline, sharings: Sharings, caller: Caller) -> None:
    await sharings.share(caller, share(key="k"))
    answer = await pipeline.carry_out(call(SHARE, share_message(of=UNKNOWN, idempotency_key="k")))
    assert failure(answer).reason == "BACKUP_NOT_FOUND"


async def test_a_missing_sharing_precedes_a_used_key(pipeline: Pipeline, sharings: Sharings, caller: Caller) -> None:
    [given] = await sharings.share(caller, share())
    await sharings.cancel(caller, cancel(given.id, key="k"))
    answer = await pipeline.carry_out(call(CANCEL, cancel_message(UNKNOWN, idempotency_key="k")))
    assert failure(answer).reason == "SHARING_NOT_FOUND"


async def test_a_used_key_precedes_the_state_of_the_backup(
    pipeline: Pipeline, sharings: Sharings, caller: Caller, set_status: SetStatus
) -> None:
    await sharings.share(caller, share(key="k"))
    await set_status(BACKUP, "error")
    answer = await pipeline.carry_out(call(SHARE, share_message(OTHER, idempotency_key="k")))
    assert failure(answer).reason == "IDEMPOTENCY_KEY_REUSED"


async def test_the_first_answer_precedes_the_state_of_the_backup(
    pipeline: Pipeline, sharings: Sharings, caller: Caller, set_status: SetStatus
) -> None:
    [given] = await sharings.share(caller, share(key="k"))
    await set_status(BACKUP, "error")
    answer = await pipeline.carry_out(call(SHARE, share_message(idempotency_key="k")))
    assert [entry.id for entry in pb.ShareBackupResponse.FromString(answer.response).shared] == [given.id]


async def test_the_state_of_the_backup_is_told_before_a_conflict(
    pipeline: Pipeline, sharings: Sharings, caller: Caller, set_status: SetStatus
) -> None:
    await sharings.share(caller, share())
    await set_status(BACKUP, "error")
    answer = await pipeline.carry_out(call(SHARE, share_message()))
    assert failure(answer).reason == "BACKUP_NOT_AVAILABLE"


async def test_a_conflict_is_told_before_the_quota(sharings: Sharings, caller: Caller) -> None:
    bounded = replace(sharings, limits=SharingLimits(max_active=1))
    methods: Sequence[ServedMethod] = SharingService(bounded).methods()
    pipeline = Pipeline(methods, identity(), 1.0, lambda: MADE_REQUEST_ID)
    await bounded.share(caller, share())
    answer = await pipeline.carry_out(call(SHARE, share_message(RECIPIENT, OTHER)))
    assert failure(answer).reason == "ALREADY_SHARED"


async def test_another_giver_does_not_learn_what_is_there(
    pipeline: Pipeline, sharings: Sharings, caller: Caller
) -> None:
    [given] = await sharings.share(caller, share())
    request = pb.GetSharingRequest(project_id=OUTSIDER, id=given.id)
    for sharing_id in (given.id, UNKNOWN):
        request.id = sharing_id
        answer = await pipeline.carry_out(call(GET, request, token="outsider-token"))
        reported = failure(answer)
        assert (reported.reason, reported.message) == ("SHARING_NOT_FOUND", f"Sharing {sharing_id} could not be found.")
