"""The other end of a connection, as gRPC knows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of the connection that a call came through: a client, or a gateway between it and us."""

    address: str
    """As gRPC writes it: ``ipv4:HOST:PORT``, ``unix:PATH``."""
    names: Sequence[str] = ()
    """Of its certificate, if it has shown one that our CA signed: alternative names, or else the common name."""


def unnamed_peer_of(context: grpc.aio.ServicerContext[Any, Any]) -> Peer:
    """Who is at the other end, where nobody is asked for a certificate: to look for one takes a tenth of a call."""
    return Peer(context.peer())


def peer_of(context: grpc.aio.ServicerContext[Any, Any]) -> Peer:
    """Who is at the other end; its certificate is one that our CA signed, or gRPC would not have let it in."""
    address = context.peer()
    known = context.auth_context()
    if known.get("transport_security_type") != [b"ssl"]:
        return Peer(address)
    names = known.get("x509_subject_alternative_name") or known.get("x509_common_name") or ()
    return Peer(address, [name.decode("utf-8", "replace") for name in names])
