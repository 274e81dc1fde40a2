"""The server accepts keepalive pings every few seconds without closing the connection."""

from __future__ import annotations

import asyncio

import h2.config
import h2.connection
import h2.events
import pytest

from tests.support.programs import PATIENCE
from tests.support.system import System

pytestmark = pytest.mark.resilience

PINGS = 5
"""Number of pings. gRPC by default tolerates two within two hours on a connection without calls."""


async def test_a_server_answers_pings_every_second(system: System) -> None:
    host, _, port = system.grpc_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = h2.connection.H2Connection(h2.config.H2Configuration())
    connection.initiate_connection()
    for number in range(PINGS):
        connection.ping(number.to_bytes(8, "big"))
        writer.write(connection.data_to_send())
        async with asyncio.timeout(PATIENCE):
            while True:
                data = await reader.read(65536)
                events = connection.receive_data(data)
                assert data
                assert not [event for event in events if isinstance(event, h2.events.ConnectionTerminated)]
                writer.write(connection.data_to_send())
                if any(isinstance(event, h2.events.PingAckReceived) for event in events):
                    break
        await asyncio.sleep(1.1)
    writer.close()
