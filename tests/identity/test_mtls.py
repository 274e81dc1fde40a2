"""Client certificates as identity; a gateway's certificate never identifies a caller."""

from __future__ import annotations

import pytest

from backup_sharing.errors import TokenInvalid, TokenMissing
from backup_sharing.identity.interface import Credentials, GatewayPeers, Peer
from backup_sharing.identity.mtls import Certificates
from backup_sharing.model import Principal

BACKUP_SERVICE = Principal("", frozenset({"service"}), "backup.internal")
REPORTS = Principal("p" * 32, frozenset({"reader"}), "reports.internal")
KNOWN = {"backup.internal": BACKUP_SERVICE, "reports.internal": REPORTS, "both.internal": REPORTS}


def provider() -> Certificates:
    return Certificates(KNOWN, GatewayPeers(["gateway.internal", "both.internal"]))


def shown(*names: str, address: str = "ipv4:10.0.0.1:5", **metadata: str) -> Credentials:
    return Credentials({name.replace("_", "-"): value for name, value in metadata.items()}, Peer(address, names))


@pytest.mark.parametrize("names", [("backup.internal",), ("unknown.internal", "backup.internal")])
async def test_a_service_is_known_by_a_name_of_its_certificate(names: tuple[str, ...]) -> None:
    assert await provider().identify(shown(*names)) == BACKUP_SERVICE


async def test_a_service_may_belong_to_a_project() -> None:
    assert (await provider().identify(shown("reports.internal"))).project_id == "p" * 32


@pytest.mark.parametrize("names", [(), ("unknown.internal",), ("BACKUP.internal",), ("x.backup.internal",), ("*",)])
async def test_another_certificate_says_nothing(names: tuple[str, ...]) -> None:
    with pytest.raises(TokenMissing) as refused:
        await provider().identify(shown(*names))
    assert refused.value.message == "The request carries no token, and no certificate of a known service."


@pytest.mark.parametrize("names", [("gateway.internal",), ("both.internal",), ("gateway.internal", "backup.internal")])
async def test_a_gateway_is_no_caller_whatever_its_certificate_says(names: tuple[str, ...]) -> None:
    with pytest.raises(TokenMissing):
        await provider().identify(shown(*names))


async def test_who_brings_a_token_is_judged_by_the_token() -> None:
    with pytest.raises(TokenInvalid) as refused:
        await provider().identify(shown("backup.internal", x_auth_token="revoked"))
    assert refused.value.message == "The token is unknown or has expired."


@pytest.mark.parametrize(
    ("peer", "is_gateway"),
    [
        (Peer("unix:/run/sharing.sock"), True),
        (Peer("unix:"), True),
        (Peer("ipv4:10.0.0.1:5", ["gateway.internal"]), True),
        (Peer("ipv4:10.0.0.1:5", ["backup.internal"]), False),
        (Peer("ipv4:127.0.0.1:5"), False),
        (Peer(""), False),
    ],
)
def test_links_are_unix_sockets_and_gateways(peer: Peer, is_gateway: bool) -> None:
    assert GatewayPeers(["gateway.internal"]).includes(peer) == is_gateway
