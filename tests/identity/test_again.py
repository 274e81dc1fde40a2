"""Callers who are identified again, while a watch of theirs is open."""

from __future__ import annotations

import base64

import pytest

from backup_sharing.errors import IdentityUnavailable, TokenInvalid, TokenMissing
from backup_sharing.identity.chain import Chain
from backup_sharing.identity.interface import Credentials, GatewayPeers, Peer
from backup_sharing.identity.mtls import Certificates
from backup_sharing.identity.proxy import ProxyIdentity
from backup_sharing.identity.roles import RoleRules
from backup_sharing.identity.static import StaticTokens, digest
from backup_sharing.model import Principal
from tests.identity.clocks import Clocks
from tests.identity.conftest import Provided
from tests.identity.keystone_stub import KeystoneStub, answering

MEMBER = Principal("project", frozenset({"member"}), "user-id")


def by(token: str, **more: str) -> Credentials:
    return Credentials({"x-auth-token": token} | {name.replace("_", "-"): value for name, value in more.items()})


async def test_a_revoked_token_is_found_past_the_cache(stub: KeystoneStub, provided: Provided) -> None:
    keystone = provided()
    token = stub.add("good", "project", "member")
    assert (await keystone.identify(by(token))).roles == frozenset({"member"})
    stub.revoke(token)
    assert (await keystone.identify(by(token))).roles == frozenset({"member"})
    with pytest.raises(TokenInvalid):
        await keystone.identify_again(by(token))
    with pytest.raises(TokenInvalid):
        await keystone.identify(by(token))


async def test_a_lost_role_is_found_past_the_cache(stub: KeystoneStub, provided: Provided) -> None:
    keystone = provided()
    token = stub.add("good", "project", "admin")
    assert (await keystone.identify(by(token))).roles == frozenset({"admin"})
    stub.add(token, "project", "reader")
    assert (await keystone.identify_again(by(token))).roles == frozenset({"reader"})


async def test_a_revoked_service_token_is_found_past_the_cache(stub: KeystoneStub, provided: Provided) -> None:
    keystone = provided(rules=RoleRules(service_projects=frozenset({"services"})))
    token, service = stub.add("good", "project", "member"), stub.add("service", "services", "service")
    given = by(token, x_service_token=service)
    await keystone.identify_again(given)
    stub.revoke(service)
    with pytest.raises(TokenInvalid, match="service token"):
        await keystone.identify_again(given)


async def test_a_silent_keystone_is_no_refusal(stub: KeystoneStub, provided: Provided) -> None:
    keystone = provided()
    token = stub.add("good", "project", "member")
    await keystone.identify(by(token))
    stub.trouble = answering(503, {})
    with pytest.raises(IdentityUnavailable):
        await keystone.identify_again(by(token))


async def test_a_static_token_expires_under_its_watch(clocks: Clocks) -> None:
    tokens = StaticTokens({digest("good"): (MEMBER, clocks.wall() + 100)}, clocks.wall)
    assert await tokens.identify_again(by("good")) == MEMBER
    clocks.pass_(101)
    with pytest.raises(TokenInvalid):
        await tokens.identify_again(by("good"))


async def test_a_chain_asks_the_one_that_knows_the_caller(stub: KeystoneStub, provided: Provided) -> None:
    tokens = StaticTokens({digest("static"): (MEMBER, None)}, lambda: 0.0)
    chain = Chain([tokens, provided(), Certificates({"cinder": MEMBER}, GatewayPeers(()))])
    token = stub.add("good", "other", "reader")
    assert (await chain.identify_again(by("static"))).project_id == "project"
    assert (await chain.identify_again(by(token))).project_id == "other"
    assert await chain.identify_again(Credentials({}, Peer("ipv4:10.0.0.1:1", ["cinder"]))) == MEMBER
    with pytest.raises(TokenMissing):
        await chain.identify_again(Credentials({}))


async def test_only_a_caller_named_by_a_proxy_cannot_be_asked_again(stub: KeystoneStub, provided: Provided) -> None:
    proxy = ProxyIdentity(["apache:secret"], GatewayPeers(()), RoleRules(), only=True)
    proof = "Basic " + base64.b64encode(b"apache:secret").decode()
    metadata = {"proxy-authorization": proof, "x-project-id": "project", "x-roles": "member"}
    named = await proxy.identify(Credentials(metadata, Peer("unix:/gateway.sock")))
    assert not named.can_be_identified_again
    keystone = await provided().identify(by(stub.add("good", "project", "member")))
    assert keystone.can_be_identified_again
