"""Tokens that make Keystone, or a proxy before it, fail must not affect other callers."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from backup_sharing.errors import IdentityUnavailable, Overloaded, TokenInvalid
from backup_sharing.identity.interface import LONGEST_TOKEN, Credentials
from backup_sharing.identity.keystone import KeystoneTokens
from tests.identity.clocks import Clocks
from tests.identity.conftest import Provided
from tests.identity.keystone_stub import KeystoneStub, Trouble, answering, hanging_up, redirecting
from tests.identity.test_keystone import PROJECT, identified

SERVICE_USER = pytest.mark.parametrize("password", ["s3cret", None], ids=["service user", "no service user"])


async def from_client(provider: KeystoneTokens, token: str, client: str, *, is_suspect: bool = False) -> str:
    credentials = Credentials({"x-auth-token": token}, client=client, is_suspect=is_suspect)
    return (await provider.identify(credentials)).project_id


class Held:
    """Trouble that blocks every request until `let_go`."""

    def __init__(self, stub: KeystoneStub) -> None:
        self._stub = stub
        self._go = asyncio.Event()
        self.asked = asyncio.Semaphore(0)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked.release()
        await self._go.wait()
        return self._stub._validate(request)

    def let_go(self) -> None:
        self._stub.trouble = None
        self._go.set()


@SERVICE_USER
@pytest.mark.parametrize("status", [400, 413, 414, 422, 431])
async def test_a_token_that_no_server_takes_is_refused_and_nobody_else(
    provided: Provided, stub: KeystoneStub, status: int, password: str | None
) -> None:
    provider = provided(password=password)
    for number in range(20):
        stub.troubles_of[f"bad-{number}"] = answering(status, {})
        with pytest.raises(TokenInvalid):
            await identified(provider, f"bad-{number}")
        assert await identified(provider, stub.add(f"good-{number}", PROJECT, "member"))


async def test_a_token_that_no_server_takes_is_asked_about_once(provided: Provided, stub: KeystoneStub) -> None:
    provider = provided(password=None)
    stub.troubles_of["bad"] = answering(400, {})
    for _ in range(3):
        with pytest.raises(TokenInvalid):
            await identified(provider, "bad")
    assert stub.calls["validate"] == 1


@SERVICE_USER
@pytest.mark.parametrize("length", [2000, LONGEST_TOKEN, LONGEST_TOKEN + 1, 8181, 8190, 100_000])
async def test_a_long_token_does_not_fill_a_web_servers_headers(
    provided: Provided, stub: KeystoneStub, length: int, password: str | None
) -> None:
    stub.longest_header = 8190
    provider = provided(password=password)
    for number in range(10):
        with pytest.raises(TokenInvalid):
            await identified(provider, f"{number}".ljust(length, "t"))
    assert await identified(provider, stub.add("good", PROJECT, "member"))


@SERVICE_USER
async def test_a_web_server_with_a_lower_limit_refuses_only_the_token(
    provided: Provided, stub: KeystoneStub, password: str | None
) -> None:
    stub.longest_header = 1000
    provider = provided(password=password)
    for number in range(10):
        with pytest.raises(TokenInvalid):
            await identified(provider, f"{number}".ljust(3000, "t"))
    assert await identified(provider, stub.add("good", PROJECT, "member"))


@SERVICE_USER
@pytest.mark.parametrize(
    "trouble",
    [answering(500, {}), answering(502, {}), answering(504, {}), answering(429, {}), answering(403, {}),
     answering(408, {}), answering(200, b"<html>"), hanging_up, redirecting],
)  # fmt: skip
async def test_tokens_for_which_keystone_fails_keep_nobody_else_out(
    provided: Provided, stub: KeystoneStub, clocks: Clocks, trouble: Trouble, password: str | None
) -> None:
    provider = provided(password=password)
    for number in range(20):
        stub.troubles_of[f"bad-{number}"] = trouble
        with pytest.raises(IdentityUnavailable):
            await identified(provider, f"bad-{number}")
        assert await identified(provider, stub.add(f"good-{number}", PROJECT, "member"))
        clocks.pass_(0.5)


@SERVICE_USER
async def test_tokens_that_keystone_is_slow_about_keep_nobody_else_out(
    provided: Provided, stub: KeystoneStub, password: str | None
) -> None:
    held = Held(stub)
    provider = provided(password=password, timeout=3.0)
    stub.troubles_of = {f"slow-{number}": held for number in range(8)}
    slow = [identified(provider, token) for token in stub.troubles_of]
    assert {type(end) for end in await asyncio.gather(*slow, return_exceptions=True)} == {IdentityUnavailable}
    assert await identified(provider, stub.add("good", PROJECT, "member"))
    held.let_go()


async def test_a_token_that_fails_keystone_does_not_keep_it_shut(
    provided: Provided, stub: KeystoneStub, clocks: Clocks
) -> None:
    provider = provided(password=None)
    stub.trouble = answering(500, {})
    for number in range(5):
        with pytest.raises(IdentityUnavailable):
            await identified(provider, f"token-{number}")
    stub.trouble, stub.troubles_of["bad"] = None, answering(500, {})
    clocks.pass_(3)
    with pytest.raises(IdentityUnavailable):
        await identified(provider, "bad")
    assert await identified(provider, stub.add("good", PROJECT, "member"))


async def test_bad_tokens_do_not_hide_that_keystone_fails(provided: Provided, stub: KeystoneStub) -> None:
    provider = provided()
    await identified(provider, stub.add("first", PROJECT, "member"))
    stub.trouble = answering(500, {})
    for number in range(3):
        with pytest.raises(IdentityUnavailable):
            await identified(provider, f"token-{number}")
        with pytest.raises(TokenInvalid):
            await identified(provider, "t" * 9000)
    asked = stub.calls["validate"]
    with pytest.raises(IdentityUnavailable):
        await identified(provider, "one-more")
    assert stub.calls["validate"] == asked


async def test_a_token_that_is_401_although_ours_is_good_is_refused(provided: Provided, stub: KeystoneStub) -> None:
    provider = provided()
    for number in range(10):
        stub.troubles_of[f"bad-{number}"] = answering(401, {})
        with pytest.raises(TokenInvalid):
            await identified(provider, f"bad-{number}")
    assert stub.calls["login"] == 1


async def test_a_login_that_is_refused_is_not_tried_for_each_token(
    provided: Provided, stub: KeystoneStub, clocks: Clocks
) -> None:
    provider = provided(password="wrong")
    tokens = [stub.add(f"token-{number}", PROJECT, "member") for number in range(50)]
    failed = await asyncio.gather(*(identified(provider, token) for token in tokens), return_exceptions=True)
    assert {type(failure) for failure in failed} == {IdentityUnavailable}
    assert stub.calls == {"login": 1}
    clocks.pass_(3)
    stub.password = "wrong"
    assert await identified(provider, tokens[0])


async def test_bad_tokens_push_no_good_token_out_of_the_cache(provided: Provided, stub: KeystoneStub) -> None:
    provider = provided(most=5)
    await identified(provider, stub.add("good", PROJECT, "member"))
    for number in range(20):
        with pytest.raises(TokenInvalid):
            await identified(provider, f"bad-{number}")
    asked = stub.calls["validate"]
    await identified(provider, "good")
    assert stub.calls["validate"] == asked


async def test_a_flood_of_new_tokens_leaves_room_for_others(provided: Provided, stub: KeystoneStub) -> None:
    provider = provided(password=None, at_once=8, waiting=50)
    stub.trouble = held = Held(stub)
    flood = [asyncio.create_task(from_client(provider, f"bad-{number}", "a")) for number in range(40)]
    for _ in range(2):  # the limit of concurrent requests of one address
        await held.asked.acquire()
    other = asyncio.create_task(from_client(provider, stub.add("good", PROJECT, "member"), "b"))
    await held.asked.acquire()
    held.let_go()
    assert await other == PROJECT
    assert {type(end) for end in await asyncio.gather(*flood, return_exceptions=True)} == {TokenInvalid}


async def test_a_token_that_was_good_does_not_wait_behind_new_ones(
    provided: Provided, stub: KeystoneStub, clocks: Clocks
) -> None:
    provider = provided(password=None, at_once=8, waiting=50)
    assert await from_client(provider, stub.add("known", PROJECT, "member"), "a")
    clocks.pass_(61)
    stub.trouble = held = Held(stub)
    flood = [
        asyncio.create_task(from_client(provider, f"bad-{client}-{number}", client))
        for client in "abcdefgh"
        for number in range(20)
    ]
    for _ in range(5):  # all slots for new tokens
        await held.asked.acquire()
    known = asyncio.create_task(from_client(provider, "known", "a"))
    await held.asked.acquire()
    held.let_go()
    assert await known == PROJECT
    await asyncio.gather(*flood, return_exceptions=True)


async def test_a_new_good_token_of_a_suspect_address_passes(provided: Provided, stub: KeystoneStub) -> None:
    provider = provided()
    assert await from_client(provider, stub.add("good", PROJECT, "member"), "a", is_suspect=True) == PROJECT


async def test_suspects_take_no_slot_from_other_addresses(provided: Provided, stub: KeystoneStub) -> None:
    provider = provided(password=None, at_once=8, waiting=50)
    stub.trouble = held = Held(stub)
    flood = [asyncio.create_task(from_client(provider, f"bad-{number}", "a", is_suspect=True)) for number in range(40)]
    await held.asked.acquire()
    others = [
        asyncio.create_task(from_client(provider, stub.add(f"good-{number}", PROJECT, "member"), f"{number}"))
        for number in range(5)
    ]
    for _ in others:
        await held.asked.acquire()
    held.let_go()
    assert await asyncio.gather(*others) == [PROJECT] * 5
    await asyncio.gather(*flood, return_exceptions=True)


async def test_calls_that_wait_for_one_address_are_bounded(provided: Provided, stub: KeystoneStub) -> None:
    provider = provided(password=None, calls=3)
    stub.trouble = held = Held(stub)
    waiting = [asyncio.create_task(from_client(provider, "one", "a")) for _ in range(3)]
    await held.asked.acquire()
    with pytest.raises(Overloaded):
        await from_client(provider, "one", "a")
    other = asyncio.create_task(from_client(provider, stub.add("good", PROJECT, "member"), "b"))
    await held.asked.acquire()
    held.let_go()
    assert await other == PROJECT
    await asyncio.gather(*waiting, return_exceptions=True)
    assert await from_client(provider, "good", "a") == PROJECT
