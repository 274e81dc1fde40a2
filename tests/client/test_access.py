"""Access checks, history, ends of sharings and validation, with both clients."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from backupsharing.client import ServerFault
from backupsharing.client.calls import expiry
from backupsharing.v2.backup_access_pb2 import (
    ACCESS_BASIS_OWNER,
    ACCESS_BASIS_SHARING,
    BatchCheckAccessRequest,
    BatchCheckAccessResponse,
    CheckAccessRequest,
    CheckAccessResponse,
    ListSharingEventsRequest,
    ListSharingEventsResponse,
    SharingEvent,
)
from backupsharing.v2.backup_sharing_pb2 import (
    CancelSharingRequest,
    CancelSharingResponse,
    GetSharingResponse,
    ShareBackupRequest,
    ShareBackupResponse,
)
from backupsharing.v2.sharing_pb2 import Sharing, SharingDetail
from tests.client.callers import PROJECT, Caller
from tests.support.stub_server import StubServer

NAIVE = datetime(2026, 12, 31)  # noqa: DTZ001 -- the tests need a naive time
END = datetime(2026, 12, 31, 12, tzinfo=timezone(timedelta(hours=2)))
ENDS = Timestamp(seconds=int(END.timestamp()))


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda client: client.share("b", ["p"], expires_at=NAIVE), "expires_at"),
        (lambda client: client.history(start_time=NAIVE), "start_time"),
        (lambda client: client.history(end_time=NAIVE), "end_time"),
    ],
)
def test_naive_times_are_refused_before_anything_is_sent(
    stub: StubServer, caller: Caller, call: Callable[[Any], Any], name: str
) -> None:
    with pytest.raises(ValueError, match=f"{name} has no time zone"):
        caller.do(call)
    assert stub.seen == []


def test_a_time_from_now_and_an_own_key_do_not_fit(stub: StubServer, caller: Caller) -> None:
    with pytest.raises(ValueError, match="expires_at is a timedelta"):
        caller.do(lambda client: client.share("b", ["p"], expires_at=timedelta(days=7), idempotency_key="k"))
    assert stub.seen == []


def test_an_end_after_the_last_year_is_a_value_error(stub: StubServer, caller: Caller) -> None:
    with pytest.raises(ValueError, match="after the year 9999"):
        caller.do(lambda client: client.share("b", ["p"], expires_at=timedelta.max))
    assert stub.seen == []


def test_a_filter_of_the_history_that_is_not_there_is_refused(stub: StubServer, caller: Caller) -> None:
    with pytest.raises(TypeError, match="unknown filter: since"):
        caller.do(lambda client: client.history(since=END))
    assert stub.seen == []


def test_no_is_falsy_and_tells_nothing(stub: StubServer, caller: Caller) -> None:
    stub.answers(CheckAccessResponse(cursor="s:1").SerializeToString())
    access = caller.do(lambda client: client.check_access("b", "p"))
    assert not access
    assert (access.allowed, access.basis, access.sharing_id, access.owner) == (False, None, None, None)
    assert (access.expires_at, access.cursor) == (None, "s:1")
    assert CheckAccessRequest.FromString(stub.seen[0].request) == CheckAccessRequest(backup_id="b", project_id="p")


def test_yes_has_its_reason(stub: StubServer, caller: Caller) -> None:
    answer = CheckAccessResponse(
        allowed=True, basis=ACCESS_BASIS_SHARING, sharing_id="s", owner_project_id="o", expire_time=ENDS, cursor="s:1"
    )
    stub.answers(answer.SerializeToString())
    access = caller.do(lambda client: client.check_access("b", "p"), project="")
    assert access
    assert (access.basis, access.sharing_id, access.owner, access.expires_at) == ("sharing", "s", "o", END)


def test_a_reason_that_the_client_does_not_know_is_none(stub: StubServer, caller: Caller) -> None:
    answer = CheckAccessResponse(allowed=True)
    answer.MergeFromString(b"\x10\x63")  # basis = 99
    stub.answers(answer.SerializeToString())
    access = caller.do(lambda client: client.check_access("b", "p"))
    assert (access.allowed, access.basis) == (True, None)


def test_many_answers_are_in_the_order_of_the_questions(stub: StubServer, caller: Caller) -> None:
    results = [CheckAccessResponse(), CheckAccessResponse(allowed=True, basis=ACCESS_BASIS_OWNER)]
    stub.answers(BatchCheckAccessResponse(results=results, cursor="s:9").SerializeToString())
    answers = caller.do(lambda client: client.check_access_many(iter([("a", "p"), ("b", "p")])))
    assert [bool(one) for one in answers] == [False, True]
    assert {one.cursor for one in answers} == {"s:9"}
    (seen,) = stub.seen
    assert [one.backup_id for one in BatchCheckAccessRequest.FromString(seen.request).checks] == ["a", "b"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_answers_is_a_server_fault(stub: StubServer, caller: Caller, count: int) -> None:
    stub.answers(BatchCheckAccessResponse(results=[CheckAccessResponse(allowed=True)] * count).SerializeToString())
    with pytest.raises(ServerFault, match="BatchCheckAccess"):
        caller.do(lambda client: client.check_access_many([("a", "p"), ("b", "p")]))


def test_the_history_has_all_pages_with_the_same_filters(stub: StubServer, caller: Caller) -> None:
    pages = iter(
        (
            ListSharingEventsResponse(
                events=[SharingEvent(cursor="s:1"), SharingEvent(cursor="s:2")], next_page_token="t"
            ),
            ListSharingEventsResponse(events=[SharingEvent(cursor="s:3", kind="a kind to come")]),
        )
    )
    stub.behaves(lambda _: next(pages).SerializeToString())
    events = caller.do(
        lambda client: client.history(
            kind="shared", backup_id="b", other_project_id="o", start_time=END, sort_dir="asc", page_size=2
        )
    )
    assert [one.cursor for one in events] == ["s:1", "s:2", "s:3"]
    assert events[-1].kind == "a kind to come"
    first, second = (ListSharingEventsRequest.FromString(seen.request) for seen in stub.seen)
    assert (first.page_token, second.page_token, first.start_time) == ("", "t", ENDS)
    second.page_token = ""
    assert first == second
    assert (first.project_id, first.kind, first.sort_dir, first.limit) == (PROJECT, "shared", "asc", 2)


def test_without_a_project_the_history_is_that_of_all(stub: StubServer, caller: Caller) -> None:
    caller.do(lambda client: client.history(), project="")
    assert ListSharingEventsRequest.FromString(stub.seen[0].request).project_id == ""


def test_a_sharing_knows_when_it_ends(stub: StubServer, caller: Caller) -> None:
    stub.answers(ShareBackupResponse(shared=[Sharing(id="s", expire_time=ENDS)]).SerializeToString())
    (sharing,) = caller.do(lambda client: client.share("b", ["p"], expires_at=END, idempotency_key="k"))
    assert sharing.expires_at == END
    assert ShareBackupRequest.FromString(stub.seen[0].request).expire_time == ENDS
    stub.answers(GetSharingResponse(shared=SharingDetail(id="s", expire_time=ENDS)).SerializeToString())
    assert caller.do(lambda client: client.get("s")).expires_at == END


def test_a_sharing_without_an_end_has_none(stub: StubServer, caller: Caller) -> None:
    stub.answers(ShareBackupResponse(shared=[Sharing(id="s")]).SerializeToString())
    (sharing,) = caller.do(lambda client: client.share("b", ["p"]))
    assert sharing.expires_at is None
    assert not ShareBackupRequest.FromString(stub.seen[0].request).HasField("expire_time")


def test_a_time_from_now_counts_from_the_call() -> None:
    now = datetime(2026, 11, 30, tzinfo=UTC)
    assert expiry(timedelta(days=7), None, lambda: now) == datetime(2026, 12, 7, tzinfo=UTC)
    assert expiry(END, "k", lambda: now) is END
    assert expiry(None, "k") is None


@pytest.mark.parametrize("call", ["share", "cancel", "cancel_all"])
def test_validating_stores_no_key_and_says_so(stub: StubServer, caller: Caller, call: str) -> None:
    stub.answers(CancelSharingResponse(shared=[Sharing(id="s")]).SerializeToString())
    arguments = ("b", ["p"]) if call == "share" else ("s",)
    caller.do(lambda client: getattr(client, call)(*arguments, validate_only=True))
    caller.do(lambda client: getattr(client, call)(*arguments))
    read = ShareBackupRequest if call == "share" else CancelSharingRequest
    validated, done = (read.FromString(seen.request) for seen in stub.seen)
    assert (validated.validate_only, validated.HasField("idempotency_key")) == (True, False)
    assert (done.validate_only, done.HasField("idempotency_key")) == (False, True)
