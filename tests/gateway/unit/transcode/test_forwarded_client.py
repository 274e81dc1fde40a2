"""The client address that the gateway forwards, whatever clients and proxies send."""

from __future__ import annotations

import ipaddress

import pytest
from aiohttp.test_utils import make_mocked_request
from aiohttp.web import BaseRequest

from restmap_gateway.transcode.forwarded import Forwarded

PROXIES = [ipaddress.ip_network("10.0.0.0/8")]


def request(remote: str | None, *forwarded_for: str) -> BaseRequest:
    headers = [("X-Forwarded-For", value) for value in forwarded_for]
    made = make_mocked_request("GET", "/", headers=headers)  # type: ignore[arg-type]  # pairs are accepted too
    return made.clone(remote=remote) if remote else made


@pytest.mark.parametrize(
    ("remote", "forwarded_for", "client"),
    [
        ("192.0.2.1", (), "192.0.2.1"),
        ("192.0.2.1", ("198.51.100.1",), "192.0.2.1"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("203.0.113.9, 198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("203.0.113.9", "198.51.100.1, 10.0.0.2"), "198.51.100.1"),
        ("10.0.0.1", ("198.51.100.1, unknown",), "10.0.0.1"),
        ("10.0.0.1", ("2001:db8::1",), "2001:db8::1"),
        ("10.0.0.1", ("a\tb",), "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_address_of_no_trusted_proxy(
    remote: str, forwarded_for: tuple[str, ...], client: str
) -> None:
    assert Forwarded(None, PROXIES, "127.0.0.1:80").client(request(remote, *forwarded_for)) == client


def test_without_trusted_proxies_nobody_speaks_for_another() -> None:
    assert Forwarded(None, [], "127.0.0.1:80").client(request("10.0.0.1", "198.51.100.1")) == "10.0.0.1"
