"""Limits of one project, and of one unauthenticated client."""

from __future__ import annotations

import asyncio

import pytest

from backup_sharing.errors import Overloaded, TokenInvalid
from backup_sharing.identity.interface import Credentials, GatewayPeers, IdentityProvider, Peer
from backup_sharing.model import Principal
from backup_sharing.rpc.admission.limits import Limiter, Limits, Rate, client_of
from backup_sharing.rpc.pipeline import Pipeline, ServedMethod
from backup_sharing.usecases.sharing import Caller
from backupsharing.v2 import backup_sharing_pb2 as pb
from tests.server.calls import COUNT, call, failure
from tests.server.identities import GIVER, MADE_REQUEST_ID, identity
from tests.support.seconds import Seconds

COUNT_OF_GIVER = pb.CountSharingsRequest(project_id=GIVER)
FAR = Peer("ipv4:192.0.2.7:5000")
GATEWAY = Peer("ipv4:192.0.2.1:5000", ["gateway"])


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


def used(rate: Rate, key: str, times: int) -> int:
    """Try ``times`` uses; return the number of allowed ones."""
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
    limiter = Limiter(Limits(calls_of_project=2), clock)
    limiter.enter_project("a")
    limiter.enter_project("a")
    with pytest.raises(Overloaded, match="2 calls in progress"):
        limiter.enter_project("a")
    limiter.enter_project("b")
    limiter.leave_project("a")
    limiter.enter_project("a")
    for project_id in "aab":
        limiter.leave_project(project_id)
    assert not limiter._by_project


def test_a_project_may_make_so_many_calls_a_second(clock: Seconds) -> None:
    limiter = Limiter(Limits(rate_of_project=2), clock)
    limiter.enter_project("a")
    limiter.enter_project("a")
    with pytest.raises(Overloaded, match="2 calls a second"):
        limiter.enter_project("a")
    clock.now += 0.5
    limiter.enter_project("a")


def pipeline_with(
    limits: Limits, release: asyncio.Event | None = None, provider: IdentityProvider | None = None
) -> Pipeline:
    async def handle(_: Caller, __: object) -> pb.CountSharingsResponse:
        if release is not None:
            await release.wait()
        return pb.CountSharingsResponse(count=7)

    method = ServedMethod(COUNT, pb.CountSharingsRequest, lambda request: request.project_id, handle)
    return Pipeline([method], provider or identity(), 1.0, lambda: MADE_REQUEST_ID, limits, GatewayPeers(["gateway"]))


async def test_one_project_with_too_many_calls_keeps_no_others_out() -> None:
    release = asyncio.Event()
    pipeline = pipeline_with(Limits(calls_of_project=3), release)
    calls = [asyncio.create_task(pipeline.carry_out(call(COUNT, COUNT_OF_GIVER))) for _ in range(3)]
    await asyncio.sleep(0)
    refused = failure(await pipeline.carry_out(call(COUNT, COUNT_OF_GIVER)))
    assert (refused.reason, refused.retry_seconds) == ("OVERLOADED", 1)
    other = asyncio.create_task(pipeline.carry_out(call(COUNT, COUNT_OF_GIVER, token="admin-token")))
    release.set()
    assert [(await task).status for task in (*calls, other)] == [None] * 4


async def reason(pipeline: Pipeline, token: str, peer: Peer = FAR, forwarded: str = "") -> str:
    """Make a call; return the reason of its failure, or "" if it succeeds."""
    metadata = {"x-auth-token": token} | ({"x-forwarded-for": forwarded} if forwarded else {})
    answer = await pipeline.carry_out(call(COUNT, COUNT_OF_GIVER, metadata=metadata, peer=peer))
    return failure(answer).reason if answer.status else ""


async def test_a_good_credential_passes_however_many_were_bad() -> None:
    pipeline = pipeline_with(Limits(failed_identities=3))
    assert [await reason(pipeline, "guess") for _ in range(3)] == ["TOKEN_INVALID"] * 3
    assert [await reason(pipeline, "guess") for _ in range(1000)] == ["OVERLOADED"] * 1000
    assert await reason(pipeline, "giver-token") == ""
    assert await reason(pipeline, "guess", Peer("ipv4:192.0.2.8:5000")) == "TOKEN_INVALID"


async def test_bad_credentials_beyond_the_limit_do_not_prolong_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Seconds()
    monkeypatch.setattr("backup_sharing.rpc.pipeline.time.monotonic", clock)
    pipeline = pipeline_with(Limits(failed_identities=60))
    for _ in range(1000):
        await reason(pipeline, "guess")
    assert await reason(pipeline, "guess") == "OVERLOADED"
    clock.now += 1.1
    assert await reason(pipeline, "guess") == "TOKEN_INVALID"


async def test_a_provider_learns_which_client_sent_too_many_bad_ones() -> None:
    seen: list[tuple[str, bool]] = []

    class Asked:
        challenge = ""

        async def identify(self, credentials: Credentials) -> Principal:
            seen.append((credentials.client, credentials.is_suspect))
            raise TokenInvalid("unknown")

    pipeline = pipeline_with(Limits(failed_identities=1), provider=Asked())
    for _ in range(3):
        await reason(pipeline, "guess")
    assert seen == [("192.0.2.7", False), ("192.0.2.7", True), ("192.0.2.7", True)]


async def test_clients_behind_a_gateway_are_told_apart_by_its_word() -> None:
    pipeline = pipeline_with(Limits(failed_identities=1))
    for _ in range(2):
        last = await reason(pipeline, "guess", GATEWAY, "198.51.100.1")
    assert last == "OVERLOADED"
    assert await reason(pipeline, "guess", GATEWAY, "198.51.100.2") == "TOKEN_INVALID"
    # The server ignores a forwarded client address from any peer that is not a gateway.
    await reason(pipeline, "guess", FAR, "198.51.100.3")
    assert await reason(pipeline, "guess", GATEWAY, "198.51.100.3") == "TOKEN_INVALID"
    assert await reason(pipeline, "guess", FAR, "198.51.100.4") == "OVERLOADED"


async def test_addresses_of_one_network_are_one_client() -> None:
    pipeline = pipeline_with(Limits(failed_identities=1))
    for number in range(3):
        last = await reason(pipeline, "guess", Peer(f"ipv6:%5B2001:db8::{number:x}:1%5D:5000"))
    assert last == "OVERLOADED"
    assert await reason(pipeline, "guess", Peer("ipv6:%5B2001:db8:0:1::1%5D:5000")) == "TOKEN_INVALID"


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("", ""),
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("%5B2001:db8:1:2:3:4:5:6%5D", "2001:db8:1:2::"),
        ("[2001:db8:1:2::]", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
        ("%5Bfe80::1%25eth0%5D", "fe80::"),
        ("no: address", "no: address"),
    ],
)
def test_one_client_is_an_address_or_a_network(address: str, client: str) -> None:
    assert client_of(address) == client


async def test_clients_nobody_can_tell_apart_share_no_limit() -> None:
    pipeline = pipeline_with(Limits(failed_identities=1))
    for peer in (Peer("ipv4:127.0.0.1:5000"), Peer("ipv6:%5B::1%5D:5000"), Peer("unix:")):
        assert [await reason(pipeline, "guess", peer) for _ in range(3)] == ["TOKEN_INVALID"] * 3
