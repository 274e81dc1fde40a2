"""Parse and check frames of calls, and build frames of answers of ``multiplex.v1``."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

import grpc
from google.protobuf.message import DecodeError

from multiplex.v1 import multiplex_pb2 as pb
from restmap.multiplexing.call_handler import CallResult, UnaryCall
from restmap.multiplexing.peer import Peer

FRAME_BYTES = 256 * 1024
"""Maximum bytes of a frame of calls. A frame of answers gets no further answer beyond this size."""

MAX_ENTRIES = 8192
"""Maximum number of calls in a frame, and of cancelled ids: each one delays all other streams."""

MAX_METADATA_BYTES = 64 * 1024
"""Maximum bytes of a call's metadata, counted as in HTTP/2; the same as gRPC's limit for separate calls."""

_SHOWN = 100
"""Maximum characters of a method's name in an error message."""

_METADATUM_BYTES = 32
"""Bytes that HTTP/2 adds to the size of each metadata entry."""

_ENTRY_BYTES = 16
"""Upper bound of the bytes for the tag and the length of an answer in a frame."""

_UNIMPLEMENTED: int = grpc.StatusCode.UNIMPLEMENTED.value[0]
_RESOURCE_EXHAUSTED: int = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
_UNAVAILABLE: int = grpc.StatusCode.UNAVAILABLE.value[0]


class ProtocolViolation(Exception):
    """The client violated the protocol; the message describes the violation."""


class QueuedAnswer(NamedTuple):
    """An answer that is not written yet."""

    answer: pb.Answer
    size: int
    """Bytes of the answer in a frame."""
    held: int
    """Bytes of the answer that `Traffic` counts as held."""


def parsed(serialized: bytes) -> pb.MultiplexRequest:
    """Parse a frame of calls.

    Raises:
        ProtocolViolation: the bytes are not a frame, or the frame is too large.
    """
    if len(serialized) > FRAME_BYTES:
        raise ProtocolViolation(f"a frame has {len(serialized)} bytes; expected at most {FRAME_BYTES}")
    try:
        frame = pb.MultiplexRequest.FromString(serialized)
    except DecodeError as error:
        raise ProtocolViolation(f"a frame is not a serialized {pb.MultiplexRequest.DESCRIPTOR.full_name}") from error
    if (entries := max(len(frame.calls), len(frame.cancelled_ids))) > MAX_ENTRIES:
        raise ProtocolViolation(f"a frame has {entries} calls or cancelled ids; expected at most {MAX_ENTRIES} of each")
    return frame


def call_of(call: pb.Call, peer: Peer, seconds: float | None) -> UnaryCall | pb.Answer:
    """Convert a call of a frame to a `Call`; return an error answer if its metadata are too large."""
    entries = call.metadata
    # Check the size of the whole call first: this is fast, and most calls are small.
    if call.ByteSize() + len(entries) * _METADATUM_BYTES > MAX_METADATA_BYTES:
        size = sum(len(entry.key) + len(entry.value) + _METADATUM_BYTES for entry in entries)
        if size > MAX_METADATA_BYTES:
            message = f"The call has {size} bytes of metadata; expected at most {MAX_METADATA_BYTES}."
            return pb.Answer(id=call.id, code=_RESOURCE_EXHAUSTED, message=message)
    named = [(entry.key, entry.value) for entry in entries]
    metadata = {key: value.decode("ascii", "replace") for key, value in named if not key.endswith("-bin")}
    binary = {key: value for key, value in named if key.endswith("-bin")} if len(metadata) < len(named) else {}
    deadline = None if seconds is None else time.monotonic() + seconds
    return UnaryCall(call.method, call.request, metadata, deadline, peer, binary)


def no_method(call_id: int, method: str) -> pb.Answer:
    """Return the answer to a call of an unknown method."""
    shown = method if len(method) <= _SHOWN else f"{method[:_SHOWN]}…"
    return pb.Answer(id=call_id, code=_UNIMPLEMENTED, message=f"There is no method {shown}.")


def lost(call_id: int) -> pb.Answer:
    """Return the answer for a call that was carried out, but whose result exceeds the limit of held bytes."""
    return pb.Answer(id=call_id, code=_UNAVAILABLE, message="The answer is lost: too many answers wait to be read.")


def answer_of(call_id: int, answer: CallResult) -> pb.Answer:
    """Convert the result of a call to an answer of a frame."""
    trailers = [
        pb.Metadatum(key=key, value=value if isinstance(value, bytes) else value.encode())
        for key, value in answer.trailers
    ]
    if answer.status is None:
        return pb.Answer(id=call_id, response=answer.response, trailers=trailers)
    code: int = answer.status.code.value[0]
    return pb.Answer(id=call_id, code=code, message=answer.status.message, trailers=trailers)


def entry_bytes(answer: pb.Answer) -> int:
    """Return the bytes of an answer in a frame, with its trailers, which are most of a failure."""
    return answer.ByteSize() + _ENTRY_BYTES


def frames_of(answers: list[QueuedAnswer]) -> Iterable[list[QueuedAnswer]]:
    """Split answers into frames of at most `FRAME_BYTES`. Yield at least one frame, which may be empty."""
    frame: list[QueuedAnswer] = []
    size = 0
    for answer in answers:
        if frame and size + answer.size > FRAME_BYTES:
            yield frame
            frame, size = [], 0
        frame.append(answer)
        size += answer.size
    yield frame
