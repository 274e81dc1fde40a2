"""The other end of a connection, as gRPC knows it."""

from __future__ import annotations

from typing import Any

import grpc

from backup_sharing.identity.interface import Peer


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
