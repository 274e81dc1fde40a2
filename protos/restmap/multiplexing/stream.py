"""The start of a stream of ``grpc.aio``, before its first message."""

from __future__ import annotations

from typing import Any

import grpc


async def begin_stream(context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Send the initial metadata, so that the stream can be aborted while its first message is being written.

    If that write is cancelled, grpc.aio does not know that it has sent the initial metadata. ``abort`` then sends them
    again, fails, and the client never gets a status.
    """
    await context.send_initial_metadata(())
