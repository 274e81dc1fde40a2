"""Keystone tokens: accepted and refused ones, and failures of Keystone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from aiohttp import web

from backup_sharing.errors import IdentityUnavailable, Overloaded, ProjectForbidden, TokenInvalid, TokenMissing
from backup_sharing.identity.interface import LONGEST_TOKEN, Credentials, IdentityProvider
from backup_sharing.identity.roles import RoleRules
from backup_sharing.model import Principal
from tests.identity.clocks import Clocks
from tests.identity.conftest import Provided
from tests.identity.keystone_stub import KeystoneStub, Trouble, answering, endless, hanging_up, redirecting

PROJECT = "c13f5220dc1949b0b741ea81a7cd5554"


async def identified(provider: IdentityProvider, token: str) -> Principal:
    return await provider.identify(Credentials({"x-auth-token": token}))


async def test_a_token_says_project_roles_user_and_domain(provided: Provided, stub: KeystoneStub) -> None:
    token = stub.add("good", PROJECT, "member", "reader", user="ursula")
    principal = await identified(provided(), token)
    assert principal == Principal(PROJECT, frozenset({"member", "reader"}), "ursula", "default")


@pytest.mark.parametrize("metadata", [{"x-auth-token": "good"}, {"authorization": "Bearer good"}])
async def test_a_token_may_come_in_either_header(
    provided: Provided, stub: KeystoneStub, metadata: Mapping[str, str]
) -> None:
    stub.add("good", PROJECT, "member")
    assert (await provided().identify(Credentials(metadata))).project_id == PROJECT


async def test_without_a_service_user_a_token_validates_itself(provided: Provided, stub: KeystoneStub) -> None:
    provider = provided(password=None)
    assert (await identified(provider, stub.add("good", PROJECT, "member"))).project_id == PROJECT
    with pytest.raises(TokenInvalid):
        await identified(provider, "unknown")
    assert stub.calls["login"] == 0


async def test_roles_may_have_other_names_in_keystone(provided: Provided, stub: KeystoneStub) -> None:
    token = stub.add("good", PROJECT, "te_admin", "vbs_adm")
    principal = await identified(provided(rules=RoleRules({"vbs_adm": "member"})), token)
    assert principal.roles == {"te_admin", "member"}


async def test_callers_are_told_where_to_get_a_token(provided: Provided, stub: KeystoneStub) -> None:
    assert provided().challenge == f'Keystone uri="{stub.url}"'


async def test_no_token_is_refused_without_asking(provided: Provided, stub: KeystoneStub) -> None:
    with pytest.raises(TokenMissing):
        await provided().identify(Credentials({}))
    assert not stub.calls


@pytest.mark.parametrize("token", ["t" * (LONGEST_TOKEN + 1), "ü", "a\nb", "a\x00", "a b", " a", "a\t", "\x7f"])
async def test_what_can_be_no_token_is_refused_without_asking(
    provided: Provided, stub: KeystoneStub, token: str
) -> None:
    with pytest.raises(TokenInvalid):
        await identified(provided(), token)
    assert not stub.calls


async def test_an_unknown_token_is_refused_and_soon_asked_about_again(
    provided: Provided, stub: KeystoneStub, clocks: Clocks
) -> None:
    provider = provided()
    for _ in range(3):
        with pytest.raises(TokenInvalid):
            await identified(provider, "not-yet")
    assert stub.calls["validate"] == 1
    stub.add("not-yet", PROJECT, "member")
    clocks.pass_(6)
    assert (await identified(provider, "not-yet")).project_id == PROJECT


@pytest.mark.parametrize(
    "members", [{}, {"domain": {"id": "default", "name": "Default"}, "roles": [{"name": "admin"}]}]
)
async def test_a_token_without_a_project_is_forbidden_and_not_unknown(
    provided: Provided, stub: KeystoneStub, members: dict[str, object]
) -> None:
    provider = provided()
    token = stub.add("unscoped", None, **members)
    for _ in range(2):
        with pytest.raises(ProjectForbidden):
            await identified(provider, token)


async def test_many_calls_with_a_token_ask_once(provided: Provided, stub: KeystoneStub) -> None:
    stub.delay = 0.05
    provider, token = provided(), stub.add("good", PROJECT, "member")
    principals = await asyncio.gather(*(identified(provider, token) for _ in range(200)))
    assert {principal.project_id for principal in principals} == {PROJECT}
    assert stub.calls == {"login": 1, "validate": 1}


async def test_many_tokens_at_once_log_in_once(provided: Provided, stub: KeystoneStub) -> None:
    provider = provided()
    tokens = [stub.add(f"token-{number}", PROJECT, "member", user=f"{number}") for number in range(50)]
    principals = await asyncio.gather(*(identified(provider, token) for token in tokens))
    assert [principal.user_id for principal in principals] == [str(number) for number in range(50)]
    assert stub.calls == {"login": 1, "validate": 50}


async def test_a_caller_that_goes_away_takes_the_answer_from_nobody(provided: Provided, stub: KeystoneStub) -> None:
    stub.delay = 0.1
    provider, token = provided(), stub.add("good", PROJECT, "member")
    impatient = asyncio.create_task(identified(provider, token))
    await asyncio.sleep(0)
    patient = asyncio.create_task(identified(provider, token))
    await asyncio.sleep(0.02)
    impatient.cancel()
    assert (await patient).project_id == PROJECT


async def test_a_revoked_token_is_refused_once_the_cache_is_over(
    provided: Provided, stub: KeystoneStub, clocks: Clocks
) -> None:
    provider, token = provided(), stub.add("good", PROJECT, "member")
    await identified(provider, token)
    stub.revoke(token)
    clocks.pass_(59)
    await identified(provider, token)
    clocks.pass_(1.1)
    with pytest.raises(TokenInvalid):
        await identified(provider, token)


async def test_a_token_is_refused_when_it_expires_in_the_cache(
    provided: Provided, stub: KeystoneStub, clocks: Clocks
) -> None:
    provider, token = provided(), stub.add("good", PROJECT, "member", seconds=20)
    await identified(provider, token)
    clocks.pass_(21)
    with pytest.raises(TokenInvalid):
        await identified(provider, token)


async def test_an_expired_token_is_refused_even_if_keystone_answers_it(provided: Provided, stub: KeystoneStub) -> None:
    with pytest.raises(TokenInvalid):
        await identified(provided(), stub.add("old", PROJECT, "member", seconds=-1))


async def test_a_clock_that_is_set_back_keeps_no_token_in_the_cache(
    provided: Provided, stub: KeystoneStub, clocks: Clocks
) -> None:
    provider, token = provided(), stub.add("good", PROJECT, "member", seconds=30)
    await identified(provider, token)
    stub.revoke(token)
    clocks.set_back(86400)
    clocks.pass_(61)
    with pytest.raises(TokenInvalid):
        await identified(provider, token)


async def test_the_cache_holds_so_many_tokens_and_no_more(provided: Provided, stub: KeystoneStub) -> None:
    provider = provided(most=2)
    for name in ("a", "b", "a", "c"):
        await identified(provider, stub.add(name, PROJECT, "member"))
    stub.calls.clear()
    await identified(provider, "a")
    assert not stub.calls
    await identified(provider, "b")
    assert stub.calls == {"validate": 1}


async def test_more_tokens_than_can_be_asked_about_are_overload(provided: Provided, stub: KeystoneStub) -> None:
    stub.delay = 0.2
    provider = provided(at_once=4, waiting=1)
    asked = [asyncio.create_task(identified(provider, stub.add(name, PROJECT, "member"))) for name in "ab"]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await identified(provider, stub.add("c", PROJECT, "member"))
    assert [principal.project_id for principal in await asyncio.gather(*asked)] == [PROJECT] * 2


async def test_tokens_of_one_client_keep_no_others_waiting(provided: Provided, stub: KeystoneStub) -> None:
    """The stub answers no request about the flood's tokens until another client has its answer."""
    answered = asyncio.Event()

    async def reluctant(request: web.Request) -> web.StreamResponse:
        if request.headers["X-Subject-Token"].startswith("flood"):
            await answered.wait()
        return stub._validate(request)

    provider = provided(password=None, waiting=250)
    stub.trouble = reluctant

    def asked(token: str, client: str) -> asyncio.Task[Principal]:
        credentials = Credentials({"x-auth-token": token}, client=client)
        return asyncio.create_task(provider.identify(credentials))

    flood = [asked(stub.add(f"flood-{number}", PROJECT, "member"), "192.0.2.1") for number in range(300)]
    async with asyncio.timeout(60):
        assert (await asked(stub.add("other", PROJECT, "member"), "192.0.2.2")).project_id == PROJECT
        answered.set()
        outcomes = await asyncio.gather(*flood, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Overloaded)]
    assert len(refused) == 300 - 10 - 250  # one address gets half of the 20 slots for new tokens
    assert "250 tokens from this address wait" in str(refused[0])


TROUBLES: dict[str, Trouble] = {
    "500": answering(500, {}),
    "503": answering(503, {}),
    "429": answering(429, {}),
    "403": answering(403, {}),
    "a redirect": redirecting,
    "no answer": hanging_up,
    "an endless answer": endless,
    "no JSON": answering(200, b"<html>"),
    "no object": answering(200, []),
    "nothing": answering(200, b""),
    "deep": answering(200, b"[" * 100_000),
    "no token": answering(200, {}),
    "a token of another type": answering(200, {"token": "yes"}),
    "no expiry": answering(200, {"token": {"user": {"id": "u"}}}),
    "a strange expiry": answering(200, {"token": {"user": {"id": "u"}, "expires_at": "later"}}),
    "an expiry without zone": answering(200, {"token": {"user": {"id": "u"}, "expires_at": "2999-01-01T00:00:00"}}),
    "a project without id": answering(
        200, {"token": {"user": {"id": "u"}, "expires_at": "2999-01-01T00:00:00Z", "project": {}, "roles": []}}
    ),
    "a strange project id": answering(
        200,
        {
            "token": {
                "user": {"id": "u"},
                "expires_at": "2999-01-01T00:00:00Z",
                "project": {"id": "../..", "domain": {"id": "d"}},
                "roles": [{"name": "admin"}],
            }
        },
    ),
    "no roles": answering(
        200,
        {
            "token": {
                "user": {"id": "u"},
                "expires_at": "2999-01-01T00:00:00Z",
                "project": {"id": "p", "domain": {"id": "d"}},
            }
        },
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
@pytest.mark.parametrize("password", ["s3cret", None])
async def test_a_keystone_in_trouble_fails_closed_without_a_challenge(
    provided: Provided, stub: KeystoneStub, trouble: Trouble, password: str | None
) -> None:
    provider = provided(password=password)
    known = stub.add("known", PROJECT, "member")
    await identified(provider, known)
    stub.trouble = trouble
    with pytest.raises(IdentityUnavailable):
        await identified(provider, stub.add("new", PROJECT, "member"))
    assert (await identified(provider, known)).project_id == PROJECT
    stub.trouble = None
    assert (await identified(provider, "new")).project_id == PROJECT


async def test_a_keystone_that_is_slow_is_given_up_in_time(provided: Provided, stub: KeystoneStub) -> None:
    stub.delay = 30
    with pytest.raises(IdentityUnavailable):
        await asyncio.wait_for(identified(provided(timeout=0.1), "any"), 10)


async def test_a_keystone_that_is_down_and_comes_back(provided: Provided, stub: KeystoneStub) -> None:
    provider = provided()
    known, port = stub.add("known", PROJECT, "member"), int(stub.url.rpartition(":")[2])
    await identified(provider, known)
    await stub.stop()
    with pytest.raises(IdentityUnavailable):
        await identified(provider, "new")
    assert (await identified(provider, known)).project_id == PROJECT
    stub.add("new", PROJECT, "member")
    await stub.start(port)
    assert (await identified(provider, "new")).project_id == PROJECT


async def test_a_keystone_that_fails_repeatedly_is_left_alone_a_while(
    provided: Provided, stub: KeystoneStub, clocks: Clocks
) -> None:
    provider = provided(password=None)
    stub.trouble = answering(500, {})
    for number in range(10):
        with pytest.raises(IdentityUnavailable):
            await identified(provider, f"token-{number}")
    assert stub.calls["validate"] == 3 + 1  # and one trial
    clocks.pass_(3)
    stub.trouble = None
    stub.add("good", PROJECT, "member")
    assert (await identified(provider, "good")).project_id == PROJECT
    assert stub.calls["validate"] == 4 + 1 + 1


async def test_a_wrong_password_of_the_service_lets_nobody_in(provided: Provided, stub: KeystoneStub) -> None:
    with pytest.raises(IdentityUnavailable):
        await identified(provided(password="wrong"), stub.add("good", PROJECT, "member"))


async def test_the_services_own_token_is_renewed_before_it_ends(provided: Provided, stub: KeystoneStub) -> None:
    stub.own_seconds = 50  # tokens are not used so close to their end
    provider = provided()
    for name in "abc":
        await identified(provider, stub.add(name, PROJECT, "member"))
    assert stub.calls == {"login": 3, "validate": 3}


async def test_the_services_own_token_is_renewed_when_it_is_refused(provided: Provided, stub: KeystoneStub) -> None:
    provider = provided()
    await identified(provider, stub.add("a", PROJECT, "member"))
    stub.forget_logins()
    principals = await asyncio.gather(*(identified(provider, stub.add(name, PROJECT, "member")) for name in "bcd"))
    assert len(principals) == 3
    assert stub.calls["login"] == 2


async def test_no_token_or_password_is_logged_or_raised(
    provided: Provided, stub: KeystoneStub, capsys: pytest.CaptureFixture[str]
) -> None:
    provider = provided()
    stub.trouble = answering(500, {})
    with pytest.raises(IdentityUnavailable) as raised:
        await identified(provider, "very-private")
    printed = capsys.readouterr()
    assert "keystone" in printed.out + printed.err
    assert "very-private" not in f"{printed}{raised.value!r}"
    assert "s3cret" not in f"{printed}{raised.value!r}"
