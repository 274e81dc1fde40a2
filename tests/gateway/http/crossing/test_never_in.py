"""Headers that never become metadata by ``--header-in``, through each spelling."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from restmap_gateway.schema.schema import SchemaError
from tests.gateway.http.conftest import StartGateway
from tests.gateway.http.crossing.test_headers_in import seen
from tests.gateway.http.foreign import ForeignServer
from tests.support.wire import exchange, get

READING = "/v1/stations/berlin/reading"

IDENTITY = (
    *("x-identity-status", "x-project-id", "x-project-domain-id", "x-user-id", "x-user-name", "x-roles", "x-role"),
    *("x-service-user-id", "x-service-roles", "x-service-identity-status", "x-is-admin-project", "x-domain-id"),
    *("remote-user", "x-remote-user", "x-remote-group", "remote-groups", "x-auth-request-user", "x-auth-request-email"),
    *("x-goog-authenticated-user-email", "x-goog-iap-jwt-assertion", "x-amzn-oidc-identity", "x-amzn-oidc-data"),
    *("x-ms-client-principal", "x-ms-client-principal-id", "cf-access-jwt-assertion", "x-webauth-user"),
    *("x-ssl-client-s-dn", "ssl-client-cert", "x-client-cert", "tailscale-user-login", "x-pomerium-claim-email"),
    *("x-consumer-username", "x-authentik-groups", "impersonate-user", "x-userinfo", "x-username", "x-userid"),
)
CREDENTIALS = ("authorization", "x-auth-token", "x-service-token", "x-subject-token", "x-weather-token")
PROXIES = (
    *("proxy-authorization", "proxy-authenticate", "proxy-anything", "forwarded", "x-forwarded-for"),
    *("x-forwarded-user", "x-forwarded-host", "x-forwarded-client-cert", "x-forwarded-method", "x-forwarded-path"),
    *("x-real-ip", "x-client-ip", "cf-connecting-ip", "x-original-url", "x-rewrite-url", "x-http-method-override"),
    "x-envoy-original-path",
)
HOP_BY_HOP = ("te", "connection", "keep-alive", "trailer", "transfer-encoding", "upgrade")
OURS = (
    *("grpc-timeout", "grpc-status", "grpc-encoding", "grpc-status-details-bin", "grpc-trace-bin", "user-agent"),
    *("content-type", "host", "traceparent", "tracestate"),
)
NEVER = (*IDENTITY, *CREDENTIALS, *PROXIES, *HOP_BY_HOP, *OURS)
UNLESS_NAMED = ("cookie", "cookie2")
OF_THE_SET = ("x-weather-id", "x-client-request-id", "x-forecaster")
"""The request id of the set and of the client, and the set's proxy header."""


def spellings(name: str) -> list[str]:
    """Return header names that some server could read as this one."""
    underscored, cut = name.replace("-", "_"), name.removesuffix("-bin")
    forms = [
        name.title(),
        name.upper(),
        underscored,
        name.replace("-", ".", 1),
        name.replace("-", "--", 1),
        f"{cut}-bin",
    ]
    prefixed = [f"{prefix}{form}" for form in forms for prefix in ("Grpc-Metadata-", "grpc-metadata-Grpc-Metadata-")]
    return list(dict.fromkeys([*forms, *prefixed]))


@pytest.mark.parametrize("name", [*NEVER, *OF_THE_SET, *UNLESS_NAMED])
async def test_no_prefix_lets_it_in_however_it_is_written(
    foreign: ForeignServer, start_gateway: StartGateway, name: str
) -> None:
    """Open every prefix that there is; nothing may arrive, alone or given twice."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    prefixes = [*(f"{letter}*" for letter in letters if letter != "g"), "grpc-metadata-*"]
    gateway = await start_gateway(header_in=prefixes)
    for spelling in spellings(name):
        if spelling.lower() in ("host", "content-type", "connection", "transfer-encoding", "upgrade", "user-agent"):
            continue  # HTTP itself acts on these
        if spelling.lower() in ("authorization", "x-weather-token", "traceparent", "tracestate", "grpc-timeout"):
            continue  # the gateway itself forwards these, under their names
        for lines in ([f"{spelling}: 1"], [f"{spelling}: 1", f"{spelling.swapcase()}: 2"]):
            foreign.seen.clear()
            answer = await exchange(gateway.address, get(READING, *lines))
            assert answer.status == 200, (spelling, answer)
            values = [value for key, value in foreign.seen[0].metadata if key != "grpc-accept-encoding"]
            assert not {"1", "2", b"1", b"2"} & set(values), spelling


@pytest.mark.parametrize("name", NEVER)
async def test_naming_it_is_refused_at_start(start_gateway: StartGateway, name: str) -> None:
    for spelling in (name, name.upper(), name.replace("-", "_"), f"Grpc-Metadata-{name}"):
        with pytest.raises((ValidationError, SchemaError), match="header"):
            await start_gateway(header_in=[spelling])


@pytest.mark.parametrize("name", OF_THE_SET)
async def test_naming_metadata_of_the_set_is_refused(start_gateway: StartGateway, name: str) -> None:
    for spelling in (name, f"grpc-metadata-{name}", name.replace("-", "_")):
        with pytest.raises(SchemaError, match="sets metadata that another header or the gateway sets"):
            await start_gateway(header_in=[spelling])


@pytest.mark.parametrize(
    "prefix", ["x-forwarded-*", "proxy-*", "x-user-*", "x-auth-*", "grpc-*", "g*", "*", "x-remote-*"]
)
async def test_a_prefix_of_nothing_else_is_refused(start_gateway: StartGateway, prefix: str) -> None:
    with pytest.raises(ValidationError, match=r"never become|too short"):
        await start_gateway(header_in=[prefix])


@pytest.mark.parametrize("name", ["", "a b", "x-*-y", "x:", "**"])
async def test_what_is_no_header_is_refused(start_gateway: StartGateway, name: str) -> None:
    with pytest.raises(ValidationError, match="expected the name of a header"):
        await start_gateway(header_in=[name])


async def test_behind_a_proxy_only_its_own_headers_count(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_in=["grpc-metadata-*", "x-*"], proxy_identity=True)
    sent = ("X-Forecaster: real", "Grpc-Metadata-X-Forecaster: forged", "X_Forecaster: forged", "X-Roles: forged")
    assert await seen(foreign, gateway, *sent) == {"x-forecaster": "real"}


async def test_what_one_header_sets_no_prefix_sets(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    """The set maps ``X-Units`` to ``units``, and the operator names ``X-Region``: a proxy may set both."""
    gateway = await start_gateway(header_in=["X-Region", "x-*", "grpc-metadata-*"])
    forged = ("Grpc-Metadata-Units: forged", "Grpc-Metadata-X-Region: forged", "X_Region: forged", "X-Region-Bin: Zg")
    assert await seen(foreign, gateway, *forged) == {}
    assert await seen(foreign, gateway, *forged, "X-Units: mm", "X-Region: eu") == {"units": "mm", "x-region": "eu"}


async def test_a_header_of_the_set_can_be_named_again(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_in=["x-units", "X-UNITS"])
    assert await seen(foreign, gateway, "X-Units: mm") == {"units": "mm"}
    with pytest.raises(SchemaError, match="'Grpc-Metadata-Units' sets metadata that another header"):
        await start_gateway(header_in=["Grpc-Metadata-Units"])


async def test_cookies_may_enter_if_they_are_named(foreign: ForeignServer, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(header_in=["Cookie"])
    assert await seen(foreign, gateway, "cookie: a=b; c=d") == {"cookie": "a=b; c=d"}
