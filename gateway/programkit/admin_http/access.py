"""Access to an admin port: networks of peers, and host names that requests may carry."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
"""IPv4 addresses as IPv6 addresses: how a socket for both versions shows an IPv4 peer."""

_SHOWN = 100
"""Maximum characters of a host name in a message."""


def network_of(text: str) -> Network:
    """Return the network of a CIDR text; the IPv6 form of an IPv4 network is that IPv4 network.

    Raises:
        ValueError: the text is not a network, or has bits of a host.
    """
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        mapped = network.network_address.ipv4_mapped
        return ipaddress.ip_network(f"{mapped}/{network.prefixlen - _MAPPED.prefixlen}")
    return network


def address_of(text: str) -> Address | None:
    """Return an IP address, without its zone and an IPv4 address as such; None if the text is not an address."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def host_of(host_and_port: str) -> str:
    """Return the host of ``HOST``, ``HOST:PORT``, ``[IPV6]`` or ``[IPV6]:PORT``, in lower case."""
    if host_and_port.startswith("["):
        return host_and_port[1:].partition("]")[0].lower()
    return host_and_port.partition(":")[0].rstrip(".").lower()


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine's loopback address or ``localhost``."""
    address = address_of(host)
    return host == "localhost" if address is None else address.is_loopback


@dataclass(frozen=True, slots=True)
class Access:
    """The peers and host names that an admin port accepts."""

    networks: Sequence[Network]
    """Networks of peers; loopback is always accepted."""
    hosts: frozenset[str]
    """Host names in lower case; ``localhost`` and IP addresses are always accepted."""

    @classmethod
    def of(cls, listen: str, networks: Sequence[str], hosts: Sequence[str]) -> Self:
        """Accept peers of ``networks``, and the names ``hosts`` and the host of ``listen``."""
        return cls([network_of(one) for one in networks], frozenset({host_of(listen), *(map(host_of, hosts))}))

    def includes(self, peer: str) -> bool:
        """Return whether a peer's IP address is loopback or in one of the networks."""
        address = address_of(peer)
        return address is not None and (address.is_loopback or any(address in one for one in self.networks))

    def why_not_host(self, headers: Sequence[str], *, is_required: bool) -> str | None:
        """Return why the ``Host`` headers of a request are refused; None: they are accepted.

        A browser sends the name in its address bar. A page of another site, whose name was rebound to this address,
        has that site's name, and gets nothing.
        """
        if len(headers) != 1:
            return "Exactly one Host header is expected." if headers or is_required else None
        host = host_of(headers[0])
        if host == "localhost" or host in self.hosts or address_of(host) is not None:
            return None
        return (
            f"The Host header names {host[:_SHOWN]!r}; an IP address, localhost or a name of --admin-host is expected."
        )
