"""Counts calls of methods that the server does not have; gRPC answers them with UNIMPLEMENTED."""

from __future__ import annotations

import grpc

from backup_sharing.rpc.reception import CallObserver


class UnknownMethods(grpc.GenericRpcHandler):
    """The last handler of a server: it serves nothing."""

    def __init__(self, observer: CallObserver) -> None:
        """Report the calls to ``observer``."""
        self._observer = observer

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> None:
        """Count a call that no other handler serves."""
        method = handler_call_details.method
        self._observer.began(method)
        self._observer.ended(method, "UNIMPLEMENTED", "", 0.0)
