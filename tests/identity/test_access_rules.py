"""Access rules of application credentials: patterns of paths, and the requests that they allow."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from backup_sharing.errors import AccessRuleMissing, IdentityUnavailable
from backup_sharing.identity.access_rules import HTTP_METHOD, HTTP_PATH, PathPattern
from backup_sharing.identity.interface import NOBODY, Credentials, IdentityProvider, Peer
from backup_sharing.model import Principal
from backupsharing.v2.backup_sharing_pb2 import DESCRIPTOR
from restmap.v1 import restmap_pb2
from tests.identity.conftest import Provided
from tests.identity.keystone_stub import KeystoneStub

PROJECT = "c13f5220dc1949b0b741ea81a7cd5554"
LIST = f"/v2/{PROJECT}/os-vendor-backup-sharing/detail"
GATEWAY = Peer("ipv4:10.0.0.1:1234", ("gateway.example",))
SOCKET = Peer("unix:")


def rule(path: str, method: str = "GET", service: str = "vbs") -> Mapping[str, str]:
    return {"id": "1", "path": path, "method": method, "service": service}


def token_with(stub: KeystoneStub, *rules: Mapping[str, str], name: str = "limited") -> str:
    credential = {"id": "c", "name": "c", "restricted": True, "access_rules": list(rules)}
    return stub.add(name, PROJECT, "member", application_credential=credential)


async def called(
    provider: IdentityProvider, token: str, *, path: str = LIST, method: str = "GET", peer: Peer = SOCKET
) -> Principal:
    return await provider.identify(
        Credentials({"x-auth-token": token, HTTP_METHOD: method, HTTP_PATH: path}, peer=peer)
    )


MATCHES = [
    ("/v2/p/detail", "/v2/p/detail"),
    ("/v2/*/detail", "/v2/p/detail"),
    ("/v2/{project_id}/detail", "/v2/p/detail"),
    ("/v2/{project_id}/s/{id}", "/v2/p/s/1"),
    ("/v2/**", "/v2/p/s/1"),
    ("/v2/**", "/v2/"),
    ("**", "/"),
    ("/v2/**/detail", "/v2/a/b/detail"),
    ("/v2**detail", "/v2detail"),
    ("/v2/p/d*l", "/v2/p/detail"),
    ("/v2/*/x*/y", "/v2/p/xx/y"),
    ("/a**b**c", "/aXbYbZc"),
    ("/***", "/a/b"),
    ("/*{x}", "/ab"),
]
MISSES = [
    ("/v2/p/detail", "/v2/p/detail/"),
    ("/v2/p/detail", "/v2/p/details"),
    ("/v2/*/detail", "/v2//detail"),
    ("/v2/*/detail", "/v2/a/b/detail"),
    ("/v2/{project_id}", "/v2/p/detail"),
    ("/v2/**/detail", "/v2/detail"),
    ("/v2/p/d*l", "/v2/p/dl"),
    ("/*{x}", "/a"),
    ("/***", "/"),
    ("/v2/*", "/v2/p\n/x"),
    ("", "/v2"),
]


@pytest.mark.parametrize(("pattern", "path"), MATCHES)
def test_a_pattern_matches(pattern: str, path: str) -> None:
    assert PathPattern(pattern).matches(path)


@pytest.mark.parametrize(("pattern", "path"), MISSES)
def test_a_pattern_does_not_match(pattern: str, path: str) -> None:
    assert not PathPattern(pattern).matches(path)


@pytest.mark.parametrize(
    ("pattern", "path"), [("/v2.1/x", "/v2a1/x"), ("/v2/(p|q)", "/v2/p"), ("/v2/p+", "/v2/pp"), ("/v2/[a-z]", "/v2/a")]
)
def test_only_wildcards_have_a_meaning_in_a_pattern(pattern: str, path: str) -> None:
    assert PathPattern(pattern).matches(pattern)
    assert not PathPattern(pattern).matches(path)


def test_no_pattern_makes_matching_slow() -> None:
    # A regular expression of this pattern tries more ways than there are atoms, and would never return.
    assert not PathPattern("**a" * 80 + "b").matches("a" * 2048)
    assert not PathPattern("*" * 127 + "/").matches("/" + "a" * 2047)


def test_patterns_agree_with_regular_expressions() -> None:
    for pattern, path in MATCHES + MISSES:
        parts = re.findall(r"\{[^}]*\}|\*\*|\*|.", pattern)
        meant = "".join(
            {"**": ".*", "*": "[^/]+"}.get(one, "[^/]+" if one[0] == "{" else re.escape(one)) for one in parts
        )
        assert PathPattern(pattern).matches(path) == bool(re.fullmatch(meant, path, re.DOTALL)), pattern


@pytest.mark.parametrize("password", ["s3cret", None])
async def test_a_request_that_a_rule_names_is_allowed(
    provided: Provided, stub: KeystoneStub, password: str | None
) -> None:
    token = token_with(stub, rule("/v2/*/other"), rule("/v2/{project_id}/os-vendor-backup-sharing/detail"))
    assert (await called(provided(password=password), token)).project_id == PROJECT


@pytest.mark.parametrize("path", [LIST.replace("detail", "%64etail"), LIST.replace("-", "%2D")])
async def test_needless_percent_encoding_changes_nothing(provided: Provided, stub: KeystoneStub, path: str) -> None:
    assert (await called(provided(), token_with(stub, rule(LIST)), path=path)).project_id == PROJECT


async def test_an_encoded_slash_separates_no_segments(provided: Provided, stub: KeystoneStub) -> None:
    token = token_with(stub, rule("/v2/*/detail"))
    with pytest.raises(AccessRuleMissing):
        await called(provided(), token, path="/v2/p%2Fdetail")
    assert (await called(provided(), token, path="/v2/p%2Fq/detail")).project_id == PROJECT


@pytest.mark.parametrize(
    "rules",
    [
        (),
        (rule(LIST, method="POST"),),
        (rule(LIST, service="volumev2"),),
        (rule(f"{LIST}/more"),),
        (rule("/v2/*"), rule(LIST, method="DELETE"), rule(LIST, service="identity")),
    ],
)
async def test_what_no_rule_allows_is_refused_with_the_reason(
    provided: Provided, stub: KeystoneStub, rules: tuple[Mapping[str, str], ...]
) -> None:
    provider, token = provided(), token_with(stub, *rules)
    for _ in range(2):
        with pytest.raises(AccessRuleMissing, match=f"None of the access rules.*allows GET {LIST} of the service vbs"):
            await called(provider, token)


async def test_a_service_may_have_several_types(provided: Provided, stub: KeystoneStub) -> None:
    token = token_with(stub, rule(LIST, service="volumev2"))
    assert (await called(provided(services=("vbs", "volumev2")), token)).project_id == PROJECT


@pytest.mark.parametrize("peer", [NOBODY, Peer("ipv4:127.0.0.1:1"), Peer("ipv4:10.0.0.1:1", ("other.example",))])
async def test_method_and_path_count_only_from_a_gateway(provided: Provided, stub: KeystoneStub, peer: Peer) -> None:
    provider, token = provided(gateways=("gateway.example",)), token_with(stub, rule("**"))
    with pytest.raises(AccessRuleMissing, match="only for REST requests through a gateway"):
        await called(provider, token, peer=peer)
    assert (await called(provider, token, peer=GATEWAY)).project_id == PROJECT


@pytest.mark.parametrize("facts", [{}, {HTTP_METHOD: "GET"}, {HTTP_PATH: LIST}])
async def test_a_gateway_without_method_or_path_allows_nothing(
    provided: Provided, stub: KeystoneStub, facts: Mapping[str, str]
) -> None:
    provider, token = provided(), token_with(stub, rule("**"))
    with pytest.raises(AccessRuleMissing, match="did not forward"):
        await provider.identify(Credentials({"x-auth-token": token, **facts}, peer=SOCKET))


async def test_a_credential_without_rules_is_good_for_all(provided: Provided, stub: KeystoneStub) -> None:
    for number, credential in enumerate(({"id": "c", "name": "c"}, {"id": "c", "access_rules": None})):
        token = stub.add(f"free-{number}", PROJECT, "member", application_credential=credential)
        assert (await called(provided(), token, peer=NOBODY)).project_id == PROJECT


@pytest.mark.parametrize(
    "credential",
    [
        "text",
        {"access_rules": {}},
        {"access_rules": ["GET"]},
        {"access_rules": [{"path": "/", "method": "GET"}]},
        {"access_rules": [rule("/" + "a" * 255)]},
    ],
)
async def test_rules_that_cannot_be_read_fail_closed(
    provided: Provided, stub: KeystoneStub, credential: object
) -> None:
    stub.tokens["odd"] = {**stub.tokens[stub.add("odd", PROJECT)], "application_credential": credential}
    with pytest.raises(IdentityUnavailable):
        await called(provided(), "odd")


def test_the_gateway_forwards_under_the_keys_read_here() -> None:
    option = DESCRIPTOR.GetOptions().Extensions[restmap_pb2.file]
    assert (option.http_method_metadata_key, option.path_metadata_key) == (HTTP_METHOD, HTTP_PATH)
    headers = (*option.request_headers, *option.proxy_headers)
    assert {HTTP_METHOD, HTTP_PATH}.isdisjoint(one.metadata_key or one.header.lower() for one in headers)
