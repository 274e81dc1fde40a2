"""Retries: when a client repeats a call, when it does not, and that no call exceeds its deadline."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from backupsharing.client import Backup, BackupSharingError, DeadlineExceeded, Retrying, Unavailable
from backupsharing.client.errors import FailureDetails
from backupsharing.client.retrying import Attempts
from backupsharing.v2.backup_access_pb2 import BatchCheckAccessResponse, CheckAccessResponse
from backupsharing.v2.backup_catalog_pb2 import GetBackupResponse
from backupsharing.v2.backup_pb2 import Backup as PutBackup
from backupsharing.v2.backup_sharing_pb2 import (
    CancelSharingRequest,
    CancelSharingResponse,
    CountSharingsResponse,
    GetSharingResponse,
    ShareBackupRequest,
)
from backupsharing.v2.sharing_pb2 import Sharing, SharingDetail
from tests.client.callers import QUICK, Caller
from tests.support.ports import free_address
from tests.support.programs import PATIENCE
from tests.support.stub_server import Context, StubServer

UNAVAILABLE, EXHAUSTED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED
COUNTED = CountSharingsResponse(count=7).SerializeToString()
CANCELLED = CancelSharingResponse(shared=[Sharing(id="s")]).SerializeToString()
NEVER_TWICE: dict[str, Callable[[Any], Any]] = {
    "put": lambda client: client.put_backup(Backup(id="b", project_id="p", status="available")),
    "remove": lambda client: client.remove_backup("b"),
}
READS: dict[str, Callable[[Any], Any]] = {
    "get": lambda client: client.get("s"),
    "list": lambda client: client.list(),
    "count": lambda client: client.count(),
    "get backup": lambda client: client.get_backup("b"),
    "list backups": lambda client: client.list_backups(),
    "check access": lambda client: client.check_access("b", "p"),
    "check access of many": lambda client: client.check_access_many([("b", "p")]),
    "history": lambda client: client.history(),
}
ANSWERS = {
    "get": GetSharingResponse(shared=SharingDetail(id="s")).SerializeToString(),
    "get backup": GetBackupResponse(backup=PutBackup(id="b")).SerializeToString(),
    "check access of many": BatchCheckAccessResponse(results=[CheckAccessResponse()]).SerializeToString(),
}
CHANGES: dict[str, Callable[[Any], Any]] = {
    "share": lambda client: client.share("b", ["p"]),
    "cancel": lambda client: client.cancel("s"),
    "cancel all": lambda client: client.cancel_all("b"),
}


def come_again(seconds: float) -> RetryInfo:
    whole = int(seconds)
    return RetryInfo(retry_delay=Duration(seconds=whole, nanos=int((seconds - whole) * 1e9)))


@pytest.mark.parametrize("change", NEVER_TWICE)
@pytest.mark.parametrize("status", [UNAVAILABLE, EXHAUSTED])
def test_a_change_without_key_is_never_sent_again(
    stub: StubServer, caller: Caller, change: str, status: grpc.StatusCode
) -> None:
    stub.fails_first(1, status, come_again(0.0))
    with pytest.raises(BackupSharingError):
        caller.do(NEVER_TWICE[change])
    assert len(stub.seen) == 1


@pytest.mark.parametrize(
    "status", [code for code in grpc.StatusCode if code not in (grpc.StatusCode.OK, UNAVAILABLE, EXHAUSTED)]
)
def test_failures_that_do_not_pass_are_told_at_once(stub: StubServer, caller: Caller, status: grpc.StatusCode) -> None:
    stub.fails(status, "no", come_again(0.0))
    with pytest.raises(BackupSharingError) as raised:
        caller.do(READS["count"])
    assert (raised.value.status, raised.value.message, len(stub.seen)) == (status, "no", 1)


def test_exhausted_without_a_time_to_come_again_is_told_at_once(stub: StubServer, caller: Caller) -> None:
    stub.fails(EXHAUSTED, "quota")
    with pytest.raises(BackupSharingError):
        caller.do(CHANGES["share"])
    assert len(stub.seen) == 1


@pytest.mark.parametrize("read", READS)
def test_a_read_is_sent_until_it_is_answered(stub: StubServer, caller: Caller, read: str) -> None:
    stub.fails_first(3, UNAVAILABLE, then=ANSWERS.get(read, b""))
    caller.do(READS[read])
    assert len(stub.seen) == 4


def test_the_last_failure_is_told_when_all_attempts_are_made(stub: StubServer, caller: Caller) -> None:
    stub.fails_first(4, UNAVAILABLE)
    with pytest.raises(Unavailable, match="not yet"):
        caller.do(READS["count"])
    assert len(stub.seen) == QUICK.attempts


def test_a_server_that_is_not_there_is_unavailable(caller: Caller) -> None:
    with pytest.raises(Unavailable) as raised:
        caller.do(READS["count"], target=free_address())
    assert raised.value.reason == raised.value.code == raised.value.request_id == ""


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_retried_with_the_key_of_its_first_attempt(stub: StubServer, caller: Caller, change: str) -> None:
    stub.fails_first(2, UNAVAILABLE, then=b"" if change == "share" else CANCELLED)
    caller.do(CHANGES[change])
    read = ShareBackupRequest if change == "share" else CancelSharingRequest
    keys = [read.FromString(seen.request).idempotency_key for seen in stub.seen]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert len(keys[0]) == 36


def test_two_changes_have_two_keys_and_a_given_key_is_kept(stub: StubServer, caller: Caller) -> None:
    caller.do(CHANGES["share"])
    caller.do(CHANGES["share"])
    caller.do(lambda client: client.share("b", ["p"], idempotency_key="mine"))
    first, second, third = (ShareBackupRequest.FromString(seen.request).idempotency_key for seen in stub.seen)
    assert first != second
    assert third == "mine"


def test_an_empty_key_is_refused_and_no_other_is_taken_for_it(stub: StubServer, caller: Caller) -> None:
    for change in (
        lambda client: client.share("b", ["p"], idempotency_key=""),
        lambda client: client.cancel("s", idempotency_key=""),
    ):
        with pytest.raises(ValueError, match="idempotency_key is empty"):
            caller.do(change)
    assert stub.seen == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_that_fails_tells_the_key_to_go_on_with(stub: StubServer, caller: Caller, change: str) -> None:
    stub.fails(UNAVAILABLE, "gone")
    with pytest.raises(Unavailable) as raised:
        caller.do(CHANGES[change])
    read = ShareBackupRequest if change == "share" else CancelSharingRequest
    assert raised.value.idempotency_key == read.FromString(stub.seen[-1].request).idempotency_key != ""
    assert raised.value.may_be_stored
    assert pickle.loads(pickle.dumps(raised.value)).idempotency_key == raised.value.idempotency_key  # noqa: S301 -- pickled here


@pytest.mark.parametrize(
    ("status", "last"),
    [(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_TOO_CLOSE"), (EXHAUSTED, "OVERLOADED")],
)
def test_a_harmless_last_attempt_hides_no_earlier_one(
    stub: StubServer, caller: Caller, status: grpc.StatusCode, last: str
) -> None:
    attempts = iter(range(100))

    def lose_the_first_answer(context: Context) -> bytes:
        if next(attempts) == 0:
            context.abort(UNAVAILABLE, "the link broke")
        stub.fails(status, "nothing was stored", ErrorInfo(reason=last, domain="backupsharing"), come_again(0.0))
        return stub.behaviour(context)

    stub.behaves(lose_the_first_answer)
    with pytest.raises(Unavailable, match="the link broke") as raised:
        caller.do(CHANGES["share"])
    assert raised.value.may_be_stored
    assert len(stub.seen) > 1


def test_a_call_that_was_too_late_at_once_did_nothing(stub: StubServer, caller: Caller) -> None:
    stub.fails(
        grpc.StatusCode.DEADLINE_EXCEEDED, "late", ErrorInfo(reason="DEADLINE_TOO_CLOSE", domain="backupsharing")
    )
    with pytest.raises(DeadlineExceeded, match="late") as raised:
        caller.do(CHANGES["share"])
    assert not raised.value.may_be_stored


@pytest.mark.parametrize("timeout", [1e12, float("inf")])
def test_a_timeout_may_be_endless(stub: StubServer, caller: Caller, timeout: float) -> None:
    stub.answers(COUNTED)
    assert caller.do(lambda client: client.count(timeout=timeout)) == 7


@pytest.mark.parametrize("status", [UNAVAILABLE, EXHAUSTED])
def test_the_time_to_come_again_is_respected(stub: StubServer, caller: Caller, status: grpc.StatusCode) -> None:
    stub.fails_first(1, status, come_again(0.4), then=COUNTED)
    began = time.monotonic()
    assert caller.do(READS["count"]) == 7
    assert time.monotonic() - began >= 0.4


def test_a_retry_after_beyond_the_deadline_is_not_waited_for(stub: StubServer, caller: Caller) -> None:
    stub.fails(UNAVAILABLE, "later", come_again(4 * PATIENCE))
    began = time.monotonic()
    with pytest.raises(Unavailable, match="later") as raised:
        caller.do(READS["count"], timeout=2 * PATIENCE)
    assert time.monotonic() - began < PATIENCE
    assert raised.value.retry_after == 4 * PATIENCE


def test_a_call_that_is_not_answered_ends_with_its_deadline(stub: StubServer, caller: Caller) -> None:
    stub.holds(b"")
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"^The call was not done within 0\.5 s\.$"):
        caller.do(lambda client: client.count(timeout=0.5))
    assert 0.4 < time.monotonic() - began < PATIENCE
    # On a slow machine, the deadline may pass before the call is sent.
    assert len(stub.seen) <= 1


def test_all_attempts_together_have_one_deadline(stub: StubServer, caller: Caller) -> None:
    stub.fails(UNAVAILABLE, "never")
    retrying = Retrying(attempts=4, first_pause=0.3, longest_pause=0.3, chance=lambda: 0.0)
    with pytest.raises(Unavailable):
        caller.do(READS["count"], timeout=8.0, retrying=retrying)
    assert len(stub.seen) == 4
    # A call that arrives late has less time left; gRPC rounds up to a quarter of a second.
    left = [seen.seconds for seen in stub.seen]
    assert all(seconds is not None and seconds < 8.3 - 0.3 * index for index, seconds in enumerate(left))


def test_attempts_end_with_the_deadline(stub: StubServer, caller: Caller) -> None:
    stub.fails(UNAVAILABLE, "never")
    retrying = Retrying(attempts=1_000_000, first_pause=0.05, longest_pause=0.05, chance=lambda: 0.0)
    with pytest.raises((Unavailable, DeadlineExceeded)):
        caller.do(READS["count"], timeout=0.8, retrying=retrying)


def test_each_page_of_a_list_has_retries_of_its_own(stub: StubServer, caller: Caller) -> None:
    seen: list[int] = []

    def every_second_fails(context: Context) -> bytes:
        seen.append(len(seen))
        if len(seen) % 2:
            context.abort(UNAVAILABLE, "odd")
        # A response with a page token, except for the fifth page.
        return b"\x12\x01x" if len(seen) < 10 else b""

    stub.behaves(every_second_fails)
    assert caller.do(READS["list"]) == []
    assert len(seen) == 10


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan")])
def test_a_timeout_that_is_none_is_refused(stub: StubServer, caller: Caller, timeout: float) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        caller.do(lambda client: client.count(timeout=timeout))
    assert stub.seen == []


def test_pauses_double_up_to_the_longest_and_spread() -> None:
    even = Retrying(first_pause=1.0, longest_pause=5.0, chance=lambda: 0.0)
    assert [even.pause(failed) for failed in (1, 2, 3, 4, 5, 5000)] == [1.0, 2.0, 4.0, 5.0, 5.0, 5.0]
    assert Retrying(first_pause=1.0, chance=lambda: 1.0).pause(1) == 0.75
    assert even.pause(1, retry_after=3.0) == 3.0
    assert even.pause(4, retry_after=3.0) == 5.0


def test_no_attempt_begins_behind_the_deadline() -> None:
    now = [0.0]
    attempts = Attempts(Retrying(chance=lambda: 0.0), 1.0, is_repeatable=True, clock=lambda: now[0])
    failure = Unavailable(FailureDetails("down", status=UNAVAILABLE))
    now[0] = 0.8
    assert attempts.pause_after(failure) == pytest.approx(0.1)
    now[0] = 0.9
    assert attempts.remaining() == pytest.approx(0.1)
    with pytest.raises(Unavailable):
        attempts.pause_after(failure)
    now[0] = 1.0
    with pytest.raises(DeadlineExceeded):
        attempts.remaining()
