"""Service tokens: a service that acts for a user whose token has expired meanwhile."""

from __future__ import annotations

import pytest

from backup_sharing.errors import TokenInvalid, TokenMissing
from backup_sharing.identity.interface import LONGEST_TOKEN, Credentials, IdentityProvider
from backup_sharing.identity.roles import RoleRules
from backup_sharing.model import Principal
from tests.identity.clocks import Clocks
from tests.identity.conftest import Provided
from tests.identity.keystone_stub import KeystoneStub

PROJECT = "c13f5220dc1949b0b741ea81a7cd5554"


async def called(provider: IdentityProvider, token: str, service_token: str) -> Principal:
    return await provider.identify(Credentials({"x-auth-token": token, "x-service-token": service_token}))


@pytest.fixture
def expired(stub: KeystoneStub) -> str:
    return stub.add("expired", PROJECT, "member", user="ursula", seconds=-5.0)


@pytest.fixture
def service(stub: KeystoneStub) -> str:
    return stub.add("nova", "services", "service")


@pytest.mark.parametrize("password", ["s3cret", None])
async def test_an_expired_token_counts_with_a_service_token(
    provided: Provided, stub: KeystoneStub, expired: str, service: str, password: str | None
) -> None:
    provider = provided(password=password)
    for _ in range(2):
        assert await called(provider, expired, service) == Principal(
            PROJECT, frozenset({"member"}), "ursula", "default"
        )
    assert stub.calls["validate"] == 2  # once for each token


async def test_an_expired_token_alone_stays_refused(
    provided: Provided, stub: KeystoneStub, expired: str, service: str
) -> None:
    provider = provided()
    await called(provider, expired, service)
    for service_token in ("", "made-up"):
        with pytest.raises(TokenInvalid):
            await called(provider, expired, service_token)


@pytest.mark.parametrize(
    ("service_token", "said"),
    [
        ("made-up", "unknown or has expired"),
        ("a b", "unknown or has expired"),
        ("t" * (LONGEST_TOKEN + 1), "unknown or has expired"),
        ("over", "unknown or has expired"),
        ("unscoped", "unknown or has expired"),
        ("member", "none of the roles"),
        ("limited", "access rules"),
    ],
)
async def test_a_service_token_that_is_none_refuses_the_call(
    provided: Provided, stub: KeystoneStub, service_token: str, said: str
) -> None:
    good = stub.add("good", PROJECT, "member")
    stub.add("over", "services", "service", seconds=-5.0)
    stub.add("unscoped")
    stub.add("member", "services", "member", "admin")
    stub.add("limited", "services", "service", application_credential={"access_rules": []})
    with pytest.raises(TokenInvalid, match=f"X-Service-Token.*{said}"):
        await called(provided(), good, service_token)


async def test_a_service_token_alone_names_no_caller(provided: Provided, service: str) -> None:
    with pytest.raises(TokenMissing):
        await provided().identify(Credentials({"x-service-token": service}))


async def test_an_unknown_token_stays_unknown(provided: Provided, service: str) -> None:
    with pytest.raises(TokenInvalid):
        await called(provided(), "made-up", service)


async def test_the_roles_of_services_are_configurable(provided: Provided, stub: KeystoneStub, expired: str) -> None:
    rules = RoleRules(service_token_roles=("bot", "service"))
    for role in ("bot", "service"):
        assert (await called(provided(rules=rules), expired, stub.add(role, "services", role))).user_id == "ursula"
    with pytest.raises(TokenInvalid):
        await called(provided(rules=RoleRules(service_token_roles=("bot",))), expired, "service")


async def test_where_service_projects_are_listed_no_others_count(
    provided: Provided, stub: KeystoneStub, expired: str, service: str
) -> None:
    provider = provided(rules=RoleRules(service_projects=("services",)))
    assert (await called(provider, expired, service)).user_id == "ursula"
    with pytest.raises(TokenInvalid):
        await called(provider, expired, stub.add("elsewhere", PROJECT, "service"))


@pytest.mark.parametrize("seconds", [-5.0, 3600.0])
async def test_a_service_that_may_not_validate_needs_a_fresh_token(
    provided: Provided, stub: KeystoneStub, service: str, seconds: float
) -> None:
    stub.is_service_forbidden = True
    provider, token = provided(password=None), stub.add("token", PROJECT, "member", seconds=seconds)
    if seconds > 0:
        assert (await called(provider, token, service)).project_id == PROJECT
        return
    with pytest.raises(TokenInvalid):
        await called(provider, token, service)


async def test_access_rules_do_not_count_for_services(provided: Provided, stub: KeystoneStub, service: str) -> None:
    token = stub.add("limited", PROJECT, "member", application_credential={"access_rules": []})
    assert (await called(provided(), token, service)).project_id == PROJECT


async def test_a_token_that_expires_while_it_is_cached_goes_on(
    provided: Provided, stub: KeystoneStub, clocks: Clocks, service: str
) -> None:
    provider, token = provided(seconds=600.0), stub.add("short", PROJECT, "member", seconds=60.0)
    stub.tokens[service]["expires_at"] = "2999-01-01T00:00:00.000000Z"
    await called(provider, token, service)
    clocks.pass_(120)
    assert (await called(provider, token, service)).project_id == PROJECT
    with pytest.raises(TokenInvalid):
        await provider.identify(Credentials({"x-auth-token": token}))
