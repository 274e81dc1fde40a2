"""The server side of ``multiplex.v1`` (many unary calls over one stream) for any server of ``grpc.aio``."""

from restmap.multiplexing.carrier import CallResult, CallStatus, Carrier, NoRoom, UnaryCall
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
    "CallResult",
    "CallStatus",
    "Carrier",
    "Handlers",
    "Multiplexer",
    "NoRoom",
    "Peer",
    "Traffic",
    "UnaryCall",
]
