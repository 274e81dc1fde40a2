"""The server side of ``multiplex.v1`` (many unary calls over one stream) for any server of ``grpc.aio``."""

from restmap.multiplexing.call_handler import CallHandler, CallResult, CallStatus, ResourceExhausted, UnaryCall
from restmap.multiplexing.handlers import CallContext, Handlers
from restmap.multiplexing.multiplexer import MAX_IN_FLIGHT, SERVICE, Admission, Multiplexer
from restmap.multiplexing.peer import Peer
from restmap.multiplexing.traffic import Bounds, Traffic

__all__ = [
    "MAX_IN_FLIGHT",
    "SERVICE",
    "Admission",
    "Bounds",
    "CallContext",
    "CallHandler",
    "CallResult",
    "CallStatus",
    "Handlers",
    "Multiplexer",
    "Peer",
    "ResourceExhausted",
    "Traffic",
    "UnaryCall",
]
