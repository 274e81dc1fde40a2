"""Targets: the addresses of servers, as gRPC and this client write them."""

from __future__ import annotations

import ipaddress

_SOCKETS = ("unix:", "unix-abstract:", "vsock:")
_SCHEMES = ("dns:", "ipv4:", "ipv6:", "passthrough:")


class BadTarget(ValueError):
    """The target cannot be one; the message says what is expected."""


def grpc_target(target: str) -> str:
    """Return the target for gRPC; several addresses, ``HOST:PORT,HOST:PORT``, become one target.

    Raises:
        BadTarget: several addresses that are not all IPv4 or all IPv6 addresses.
    """
    if "," not in target or target.startswith((*_SOCKETS, *_SCHEMES)):
        return target
    addresses = [one.strip() for one in target.split(",")]
    versions = {_version(one) for one in addresses}
    if versions not in ({4}, {6}):
        raise BadTarget(
            f"{target}: several addresses must all be IPv4 or all be IPv6 addresses; for names, use one name that"
            " resolves to all servers"
        )
    return f"ipv{versions.pop()}:{','.join(addresses)}"


def is_local(target: str) -> bool:
    """Return whether all addresses of a target are on this machine: loopback addresses and Unix sockets."""
    if target.startswith(_SOCKETS):
        return True
    scheme = next((scheme for scheme in _SCHEMES if target.startswith(scheme)), "")
    addresses = target.removeprefix(scheme).rpartition("/")[2].split(",")
    return all(_is_loopback(_host(one.strip())) for one in addresses)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _version(address: str) -> int:
    try:
        return ipaddress.ip_address(_host(address)).version
    except ValueError:
        return 0


def _host(address: str) -> str:
    """Return the host of ``HOST:PORT``, ``[IPV6]:PORT`` or a host without a port."""
    address = address.replace("%5B", "[").replace("%5D", "]")
    if address.startswith("["):
        return address[1:].partition("]")[0]
    host, colon, _ = address.partition(":")
    # More than one colon: an IPv6 address without a port.
    return host if colon and address.count(":") == 1 else address
