"""Detects whether an upstream speaks gRPC with a request of its own, not from the text of an error."""

from __future__ import annotations

import asyncio
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from restmap_gateway.upstream.server_address import ServerAddress
from restmap_gateway.upstream.tls import UpstreamTls

ASK_SECONDS = 1.0
"""Maximum seconds for the server's response."""

KEEP_SECONDS = 5.0
"""Seconds for which a result is cached."""


class Probe:
    """Probes one address and caches the result for `KEEP_SECONDS`."""

    def __init__(self, address: ServerAddress, tls: UpstreamTls | None = None) -> None:
        """Create the probe of ``address``."""
        self._address = address
        self._tls = tls
        self._known: tuple[float, bool] | None = None
        self._asking = asyncio.Lock()

    async def speaks_something_else(self) -> bool:
        """Return True if the server responds and does not speak gRPC; False also if there is no response in time."""
        async with self._asking:
            if self._known is None or time.monotonic() - self._known[0] > KEEP_SECONDS:
                found = await self._ask()
                self._known = (time.monotonic(), found)
            return self._known[1]

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                reader, writer = await self._connect()
                try:
                    return not await _is_grpc(reader, writer)
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return False

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = self._tls.context if self._tls else None
        name = (self._tls.name or self._address.host) if self._tls else None
        target = self._address.target
        if target.startswith("unix:"):
            return await asyncio.open_unix_connection(target.removeprefix("unix:"), ssl=context, server_hostname=name)
        host, _, port = target.rpartition(":")
        return await asyncio.open_connection(host.strip("[]"), int(port), ssl=context, server_hostname=name)


async def _is_grpc(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Call a method; return whether the response has the content type of gRPC, which failures have too.

    Raises:
        ConnectionError: the connection closed without data, as with a server that stops.
    """
    # Do not validate headers: some gRPC servers send messages that HTTP does not allow.
    lenient = h2.config.H2Configuration(validate_inbound_headers=False, normalize_inbound_headers=False)
    connection = h2.connection.H2Connection(lenient)
    connection.initiate_connection()
    headers = (
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "probe"),
        (":path", "/grpc.health.v1.Health/Check"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    )
    connection.send_headers(1, headers)
    # The message of a call: a flag byte, a four-byte length, and no content.
    connection.send_data(1, bytes(5), end_stream=True)
    writer.write(connection.data_to_send())
    heard = False
    while data := await reader.read(65536):
        heard = True
        try:
            events = connection.receive_data(data)
        except h2.exceptions.ProtocolError:
            return False
        for event in events:
            if isinstance(event, h2.events.ResponseReceived):
                return _content_type(event).startswith("application/grpc")
        writer.write(connection.data_to_send())
    if heard:
        return False
    raise ConnectionResetError


def _content_type(event: h2.events.ResponseReceived) -> str:
    values = (value for name, value in event.headers or () if name in ("content-type", b"content-type"))
    value = next(values, "")
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value
