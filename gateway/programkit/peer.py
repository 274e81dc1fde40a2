"""The peer of a connection."""

from __future__ import annotations

import asyncio


def peer_of(transport: asyncio.BaseTransport | None) -> str:
    """Return the IP address of the peer; empty if it is gone, or for Unix sockets."""
    address = None if transport is None else transport.get_extra_info("peername")
    return str(address[0]) if isinstance(address, tuple) else ""
