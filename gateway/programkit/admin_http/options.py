"""The settings of an admin port, which both programs have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Protocol

from pydantic import AfterValidator, Field
from pydantic_settings import NoDecode

from programkit.admin_http.access import host_of, is_loopback, network_of
from programkit.settings import SPLIT, Metavar, is_host_and_port, split

_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


def _address(value: str) -> str:
    if not is_host_and_port(value) or (":" in value.rpartition(":")[0] and not value.startswith("[")):
        raise ValueError("expected HOST:PORT or [IPV6]:PORT")
    return value


def _network(value: str) -> str:
    network_of(value)
    return value


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError("expected a host name without a port")
    return value


AdminListen = Annotated[
    Annotated[str, AfterValidator(_address)] | None,
    Metavar("HOST:PORT"),
    Field(
        description="HOST:PORT to serve /livez, /readyz and /metrics on, in plain HTTP and without tokens; without it,"
        " none of them is served"
    ),
]
"""Type of the setting ``admin_listen``."""

AdminAllow = Annotated[
    list[Annotated[str, AfterValidator(_network)]],
    NoDecode,
    SPLIT,
    Metavar("CIDR"),
    Field(
        description="network, such as 10.0.0.0/8, whose addresses may use --admin-listen; loopback always may; required"
        " if --admin-listen is not on loopback; may be repeated"
    ),
]
"""Type of the setting ``admin_allow``."""

AdminHosts = Annotated[
    list[Annotated[str, AfterValidator(_name)]],
    NoDecode,
    SPLIT,
    Metavar("NAME"),
    Field(
        description="host name by which clients may name --admin-listen in the Host header; IP addresses, localhost and"
        " the host of --admin-listen are always accepted; may be repeated"
    ),
]
"""Type of the setting ``admin_host``."""


class AdminSettings(Protocol):
    """Validated settings of an admin port."""

    @property
    def admin_listen(self) -> str | None:
        """Address to listen on; None: no admin port."""
        ...

    @property
    def admin_allow(self) -> list[str]:
        """Networks of accepted peers."""
        ...

    @property
    def admin_host(self) -> list[str]:
        """Accepted host names."""
        ...


def incomplete(given: Mapping[str, Any], others: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each missing or contradicting setting of an admin port, with the reason.

    Args:
        given: raw settings.
        others: address of each other setting on which the program listens, by the name of its flag.
    """
    listen, allowed = str(given.get("admin_listen") or ""), split(given.get("admin_allow"))
    if not listen:
        for name in ("admin_allow", "admin_host"):
            if given.get(name):
                yield "admin_listen", f"is missing, but --{name.replace('_', '-')} is set"
        return
    if not (allowed or is_loopback(host_of(listen))):
        yield "admin_allow", f"is missing; --admin-listen {listen} is not on loopback"
    for flag, address in others.items():
        if address == listen and not listen.endswith(":0"):
            yield "admin_listen", f"is also the address of {flag}; choose another port"
