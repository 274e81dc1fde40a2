"""Channels for long streams: servers limit the concurrent calls of a connection, mostly to 100."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import grpc

STREAMS_OF_CHANNEL: Final = 50
"""Maximum streams of a channel; further calls of the same connection would wait for the end of a stream."""


class StreamChannels:
    """The channels of one server: the first one, which makes the unary calls too, and others while there are streams.

    The owner of the first channel closes it.
    """

    def __init__(self, first: grpc.aio.Channel, new_channel: Callable[[], grpc.aio.Channel]) -> None:
        """Use ``first`` before any other; ``new_channel`` opens a channel with a connection of its own."""
        self._first = first
        self._new_channel = new_channel
        self._streams: dict[grpc.aio.Channel, int] = {first: 0}

    @asynccontextmanager
    async def one(self) -> AsyncIterator[grpc.aio.Channel]:
        """Return a channel for one stream, which must end before the context exits."""
        free = (channel for channel, streams in self._streams.items() if streams < STREAMS_OF_CHANNEL)
        channel = next(free, None) or self._new_channel()
        self._streams[channel] = self._streams.get(channel, 0) + 1
        try:
            yield channel
        finally:
            self._streams[channel] -= 1
            if channel is not self._first and not self._streams[channel]:
                del self._streams[channel]
                await channel.close()

    async def close(self) -> None:
        """Close the other channels, and cancel their streams."""
        await asyncio.gather(*(channel.close() for channel in self._streams if channel is not self._first))
