"""A gRPC server that has only the health service, for probes that have no client certificate."""

from __future__ import annotations

import grpc

from backup_sharing.rpc import health
from backup_sharing.rpc.health import Health
from backup_sharing.rpc.options import server_options
from restmap.multiplexing.traffic import Traffic

_CONNECTIONS = 64
"""Maximum connections; further ones are closed at once."""

_STREAMS_OF_CONNECTION = 8
"""Maximum concurrent calls of a connection; clients queue further calls."""


def health_server(serving: Health) -> grpc.aio.Server:
    """Return a server, without an address yet, that reports the health of the program and has nothing else.

    A second port of the program's own server would serve every method there.
    """
    server = grpc.aio.server(
        maximum_concurrent_rpcs=_CONNECTIONS * _STREAMS_OF_CONNECTION,
        options=server_options(_CONNECTIONS, _STREAMS_OF_CONNECTION),
    )
    server.add_generic_rpc_handlers((health.handler(serving, Traffic()),))
    return server
