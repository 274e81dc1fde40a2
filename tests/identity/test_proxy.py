"""Identity headers count only if an authenticating proxy sends them."""

from __future__ import annotations

import base64

import pytest

from backup_sharing.errors import ProxyRequired, TokenInvalid, TokenMissing
from backup_sharing.identity.interface import Credentials, GatewayPeers, Peer
from backup_sharing.identity.proxy import HEADERS, ProxyIdentity
from backup_sharing.identity.roles import RoleRules
from backup_sharing.model import Principal

PROJECT = "c13f5220dc1949b0b741ea81a7cd5554"
GATEWAY = Peer("ipv4:10.0.0.1:5", ["gateway.internal"])
ELSEWHERE = Peer("ipv4:10.0.0.1:5", ["backup.internal"])
NO_RULES = RoleRules()
NAMED = {
    "x-identity-status": "Confirmed",
    "x-project-id": PROJECT,
    "x-project-domain-id": "default",
    "x-user-id": "ursula",
    "x-roles": "member, reader,",
}


def basic(credential: str, scheme: str = "Basic") -> dict[str, str]:
    return {"proxy-authorization": f"{scheme} {base64.b64encode(credential.encode()).decode()}"}


def provider(rules: RoleRules = NO_RULES, *, only: bool = False) -> ProxyIdentity:
    return ProxyIdentity(["front:new-secret", "front:old-secret"], GatewayPeers(["gateway.internal"]), rules, only=only)


async def identified(metadata: dict[str, str], peer: Peer = GATEWAY, *, only: bool = False) -> Principal:
    return await provider(only=only).identify(Credentials(metadata, peer))


@pytest.mark.parametrize("credential", ["front:new-secret", "front:old-secret"])
@pytest.mark.parametrize("peer", [GATEWAY, Peer("unix:/run/sharing.sock")])
async def test_the_proxy_names_the_caller(credential: str, peer: Peer) -> None:
    principal = await identified({**NAMED, **basic(credential)}, peer)
    assert principal == Principal(PROJECT, frozenset({"member", "reader"}), "ursula", "default")


@pytest.mark.parametrize(
    "proof",
    [
        {},
        {"proxy-authorization": ""},
        {"proxy-authorization": "Basic"},
        {"proxy-authorization": "Basic !!!"},
        {"proxy-authorization": "Basic Zm9v\u00e9"},
        basic("front:wrong"),
        basic("front:new-secre"),
        basic("front:new-secret "),
        basic(""),
        basic("front:new-secret", scheme="Bearer"),
        {"proxy-authorization": "Basic front:new-secret"},
    ],
)
@pytest.mark.parametrize("name", HEADERS)
async def test_who_only_says_so_has_to_come_through_the_proxy(proof: dict[str, str], name: str) -> None:
    with pytest.raises(ProxyRequired):
        await identified({name: NAMED[name], **proof})


@pytest.mark.parametrize("peer", [ELSEWHERE, Peer("ipv4:127.0.0.1:5"), Peer("")])
async def test_even_the_right_credential_counts_only_through_a_gateway(peer: Peer) -> None:
    with pytest.raises(ProxyRequired):
        await identified({**NAMED, **basic("front:new-secret")}, peer)


@pytest.mark.parametrize("project", ["", "../x", "p" * 65, "a b"])
async def test_a_proxy_that_names_no_project_lets_nobody_in(project: str) -> None:
    with pytest.raises(TokenInvalid):
        await identified({**NAMED, "x-project-id": project, **basic("front:new-secret")})


async def test_a_proxy_that_does_not_know_the_caller_lets_nobody_in() -> None:
    with pytest.raises(TokenInvalid):
        await identified({**NAMED, "x-identity-status": "Invalid", **basic("front:new-secret")})


async def test_a_silent_call_is_left_to_others_or_sent_to_the_proxy() -> None:
    for metadata in ({}, {"x-auth-token": "token"}):
        with pytest.raises(TokenMissing):
            await identified(metadata)
        with pytest.raises(ProxyRequired):
            await identified(metadata, only=True)


@pytest.mark.parametrize(("projects", "expected"), [((), {"member"}), ((PROJECT,), {"member", "service"})])
async def test_the_role_service_counts_only_in_a_named_project(projects: tuple[str, ...], expected: set[str]) -> None:
    metadata = {**NAMED, "x-roles": "member,service", **basic("front:new-secret")}
    named = provider(RoleRules(service_projects=projects))
    assert (await named.identify(Credentials(metadata, GATEWAY))).roles == expected


async def test_a_proxy_need_not_say_more_than_the_project() -> None:
    principal = await identified({"x-project-id": PROJECT, **basic("front:new-secret")})
    assert principal == Principal(PROJECT, frozenset(), "", "")


async def test_a_proxy_that_leaves_the_project_out_lets_nobody_in() -> None:
    with pytest.raises(
        TokenInvalid, match=r"^The authenticating proxy does not know the caller, or no project of it\.$"
    ):
        await identified({"x-user-id": "ursula", **basic("front:new-secret")})


async def test_a_credential_may_stand_behind_more_than_one_space() -> None:
    assert (await identified({**NAMED, **basic("front:new-secret", scheme="Basic ")})).project_id == PROJECT


@pytest.mark.parametrize("junk", ["!", "\n", " ", "-"])
async def test_a_credential_with_other_characters_in_it_is_none(junk: str) -> None:
    proof = basic("front:new-secret")["proxy-authorization"]
    with pytest.raises(ProxyRequired):
        await identified({**NAMED, "proxy-authorization": f"{proof[:12]}{junk}{proof[12:]}"})


@pytest.mark.parametrize(
    ("metadata", "only", "message"),
    [
        ({}, True, "The request did not come through the authenticating proxy."),
        ({}, False, "The request carries no token, and did not come through the authenticating proxy."),
        (NAMED, False, "The request names its caller, but did not come through the authenticating proxy."),
    ],
)
async def test_a_refusal_says_what_is_missing(metadata: dict[str, str], only: bool, message: str) -> None:
    with pytest.raises((ProxyRequired, TokenMissing)) as refused:
        await identified(metadata, only=only)
    assert refused.value.message == message
