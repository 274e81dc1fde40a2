"""What one project, or one client that nobody knows, may take."""

from __future__ import annotations

import asyncio

import pytest

from backupsharing.v2 import backup_sharing_pb2 as pb
from server.errors import Overloaded
from server.identity.interface import Links, Peer
from server.rpc.limits import Gate, Limits, Rate
from server.rpc.pipeline import Method, Pipeline
from server.sharing import Caller
from tests.server.cast import GIVER, MADE_REQUEST_ID, identity
from tests.server.doors import COUNT, call, failure

COUNT_OF_GIVER = pb.CountSharingsRequest(project_id=GIVER)
FAR = Peer("ipv4:192.0.2.7:5000")
GATEWAY = Peer("ipv4:192.0.2.1:5000", ["gateway"])


class Seconds:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


def used(rate: Rate, key: str, times: int) -> int:
    """How many of so many uses are allowed."""
    allowed = 0
    for _ in range(times):
        if not rate.is_used_up(key):
            rate.use(key)
            allowed += 1
    return allowed


def test_a_rate_allows_its_burst_at_once_and_then_its_rate(clock: Seconds) -> None:
    rate = Rate(per_second=10, burst=5, clock=clock)
    assert used(rate, "a", 100) == 5
    assert used(rate, "b", 100) == 5
    clock.now += 0.21
    assert used(rate, "a", 100) == 2
    clock.now += 3600
    assert used(rate, "a", 100) == 5


def test_a_clock_that_has_just_begun_counts_from_nothing() -> None:
    seconds = [0.0]
    rate = Rate(per_second=10, burst=1, clock=lambda: seconds[0])
    assert not rate.is_used_up("key")
    rate.use("key")
    assert rate.is_used_up("key")
    seconds[0] = 0.1
    assert not rate.is_used_up("key")


def test_a_rate_remembers_so_many_keys_and_no_more(clock: Seconds) -> None:
    rate = Rate(per_second=0.001, burst=1, clock=clock)
    for number in range(30_000):
        rate.use(str(number))
    assert len(rate._paid_until) == 10_000
    assert rate.is_used_up("29999")


def test_a_project_may_have_so_many_calls_in_progress(clock: Seconds) -> None:
    gate = Gate(Limits(calls_of_project=2), clock)
    gate.enter_project("a")
    gate.enter_project("a")
    with pytest.raises(Overloaded, match="2 calls in progress"):
        gate.enter_project("a")
    gate.enter_project("b")
    gate.leave_project("a")
    gate.enter_project("a")
    for project_id in "aab":
        gate.leave_project(project_id)
    assert not gate._by_project


def test_a_project_may_make_so_many_calls_a_second(clock: Seconds) -> None:
    gate = Gate(Limits(rate_of_project=2), clock)
    gate.enter_project("a")
    gate.enter_project("a")
    with pytest.raises(Overloaded, match="2 calls a second"):
        gate.enter_project("a")
    clock.now += 0.5
    gate.enter_project("a")


def pipeline_with(limits: Limits, release: asyncio.Event | None = None) -> Pipeline:
    async def handle(_: Caller, __: object) -> pb.CountSharingsResponse:
        if release is not None:
            await release.wait()
        return pb.CountSharingsResponse(count=7)

    method = Method(COUNT, pb.CountSharingsRequest, lambda request: request.project_id, handle)
    return Pipeline([method], identity(), 1.0, lambda: MADE_REQUEST_ID, limits, Links(["gateway"]))


async def test_one_project_with_too_many_calls_does_not_keep_others_out() -> None:
    release = asyncio.Event()
    pipeline = pipeline_with(Limits(calls_of_project=3), release)
    calls = [asyncio.create_task(pipeline.carry_out(call(COUNT, COUNT_OF_GIVER))) for _ in range(3)]
    await asyncio.sleep(0)
    refused = failure(await pipeline.carry_out(call(COUNT, COUNT_OF_GIVER)))
    assert (refused.reason, refused.retry_seconds) == ("OVERLOADED", 1)
    other = asyncio.create_task(pipeline.carry_out(call(COUNT, COUNT_OF_GIVER, token="admin-token")))
    release.set()
    assert [(await task).status for task in (*calls, other)] == [None] * 4


async def test_a_client_with_too_many_bad_credentials_is_not_listened_to_any_more() -> None:
    pipeline = pipeline_with(Limits(failed_identities=3))
    for _ in range(3):
        assert (
            failure(await pipeline.carry_out(call(COUNT, COUNT_OF_GIVER, "guess", peer=FAR))).reason == "TOKEN_INVALID"
        )
    for token in ("guess", "giver-token"):
        assert failure(await pipeline.carry_out(call(COUNT, COUNT_OF_GIVER, token, peer=FAR))).reason == "OVERLOADED"
    elsewhere = Peer("ipv4:192.0.2.8:5000")
    assert (await pipeline.carry_out(call(COUNT, COUNT_OF_GIVER, peer=elsewhere))).status is None


async def test_clients_behind_a_gateway_are_told_apart_by_what_the_gateway_says() -> None:
    pipeline = pipeline_with(Limits(failed_identities=1))

    def from_client(address: str, token: str, peer: Peer = GATEWAY) -> object:
        metadata = {"x-auth-token": token, "x-forwarded-for": address}
        return pipeline.carry_out(call(COUNT, COUNT_OF_GIVER, metadata=metadata, peer=peer))

    await from_client("198.51.100.1", "guess")  # type: ignore[misc]
    assert failure(await from_client("198.51.100.1", "giver-token")).reason == "OVERLOADED"  # type: ignore[misc]
    assert (await from_client("198.51.100.2", "giver-token")).status is None  # type: ignore[misc]
    # Who is no gateway may not speak for others: what it says of the client counts for nothing.
    await from_client("198.51.100.3", "guess", FAR)  # type: ignore[misc]
    assert (await from_client("198.51.100.3", "giver-token")).status is None  # type: ignore[misc]
    assert failure(await from_client("198.51.100.4", "giver-token", FAR)).reason == "OVERLOADED"  # type: ignore[misc]


async def test_clients_that_nobody_can_tell_apart_are_not_held_liable_for_each_other() -> None:
    pipeline = pipeline_with(Limits(failed_identities=1))
    for peer in (Peer("ipv4:127.0.0.1:5000"), Peer("ipv6:%5B::1%5D:5000"), Peer("unix:")):
        for _ in range(3):
            await pipeline.carry_out(call(COUNT, COUNT_OF_GIVER, "guess", peer=peer))
        assert (await pipeline.carry_out(call(COUNT, COUNT_OF_GIVER, peer=peer))).status is None
