"""The frames of ``multiplex.v1``: parsed and checked, and filled with answers."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

import grpc
from google.protobuf.message import DecodeError

from multiplex.v1 import multiplex_pb2 as pb
from restmap.multiplexing.carrier import Answer, Call
from restmap.multiplexing.peer import Peer

FRAME_BYTES = 256 * 1024
"""The most that a frame of calls may have, and beyond which a frame of answers is not filled further."""

MAX_ENTRIES = 8192
"""Calls of a frame, and ids that it cancels: each takes time of all others."""

MAX_METADATA_BYTES = 64 * 1024
"""Of a call, counted as HTTP/2 does; the same is the limit of gRPC for calls of their own."""

_SHOWN = 100
"""Characters of a method's name that are repeated in a message."""

_METADATUM_BYTES = 32
"""What HTTP/2 adds to the size of each entry."""

_ENTRY_BYTES = 16
"""More than the tag and the length of an answer in a frame."""

_UNIMPLEMENTED: int = grpc.StatusCode.UNIMPLEMENTED.value[0]
_RESOURCE_EXHAUSTED: int = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
_UNAVAILABLE: int = grpc.StatusCode.UNAVAILABLE.value[0]


class Misused(Exception):
    """The client sent what the protocol does not allow; the message says what."""


class Unwritten(NamedTuple):
    """An answer that waits to be written."""

    answer: pb.Answer
    size: int
    """Bytes, in a frame."""
    held: int
    """As many of them as `Traffic` counts."""


def parsed(serialized: bytes) -> pb.MultiplexRequest:
    """Parse a frame of calls.

    Raises:
        Misused: it is none, or larger than a frame may be.
    """
    if len(serialized) > FRAME_BYTES:
        raise Misused(f"a frame has {len(serialized)} bytes; expected at most {FRAME_BYTES}")
    try:
        frame = pb.MultiplexRequest.FromString(serialized)
    except DecodeError as error:
        raise Misused(f"a frame is not a serialized {pb.MultiplexRequest.DESCRIPTOR.full_name}") from error
    if (entries := max(len(frame.calls), len(frame.cancelled_ids))) > MAX_ENTRIES:
        raise Misused(f"a frame has {entries} calls or cancelled ids; expected at most {MAX_ENTRIES} of each")
    return frame


def call_of(call: pb.Call, peer: Peer, seconds: float | None) -> Call | pb.Answer:
    """A call as it would be if it were made by itself; or why it could not be."""
    entries = call.metadata
    # The size of the whole call is quickly found, and most calls are small.
    if call.ByteSize() + len(entries) * _METADATUM_BYTES > MAX_METADATA_BYTES:
        size = sum(len(entry.key) + len(entry.value) + _METADATUM_BYTES for entry in entries)
        if size > MAX_METADATA_BYTES:
            message = f"The call has {size} bytes of metadata; expected at most {MAX_METADATA_BYTES}."
            return pb.Answer(id=call.id, code=_RESOURCE_EXHAUSTED, message=message)
    named = [(entry.key, entry.value) for entry in entries]
    metadata = {key: value.decode("ascii", "replace") for key, value in named if not key.endswith("-bin")}
    deadline = None if seconds is None else time.monotonic() + seconds
    return Call(call.method, call.request, metadata, deadline, peer)


def no_method(call_id: int, method: str) -> pb.Answer:
    """The answer to a call of a method that there is not."""
    shown = method if len(method) <= _SHOWN else f"{method[:_SHOWN]}…"
    return pb.Answer(id=call_id, code=_UNIMPLEMENTED, message=f"There is no method {shown}.")


def lost(call_id: int) -> pb.Answer:
    """The answer to a call that was carried out, but whose answer there was no room for."""
    return pb.Answer(id=call_id, code=_UNAVAILABLE, message="The answer is lost: too many answers wait to be read.")


def answer_of(call_id: int, answer: Answer) -> pb.Answer:
    """The answer to a call that was carried out."""
    trailers = [
        pb.Metadatum(key=key, value=value if isinstance(value, bytes) else value.encode())
        for key, value in answer.trailers
    ]
    if answer.status is None:
        return pb.Answer(id=call_id, response=answer.response, trailers=trailers)
    code: int = answer.status.code.value[0]
    return pb.Answer(id=call_id, code=code, message=answer.status.message, trailers=trailers)


def entry_bytes(answer: pb.Answer) -> int:
    """What an answer takes of a frame; trailers count too: a failure has nothing else."""
    return answer.ByteSize() + _ENTRY_BYTES


def frames_of(answers: list[Unwritten]) -> Iterable[list[Unwritten]]:
    """Split what waits so that each frame has its size; at least one frame, which may be empty."""
    frame: list[Unwritten] = []
    size = 0
    for answer in answers:
        if frame and size + answer.size > FRAME_BYTES:
            yield frame
            frame, size = [], 0
        frame.append(answer)
        size += answer.size
    yield frame
