"""Requests in flight: from the arrival of the complete request until the response is handed to the socket."""

from __future__ import annotations

from aiohttp.web import BaseRequest

from programkit.stages import Stages
from restmap_gateway.errors import Overload, Overloaded
from restmap_gateway.http.connection import Connection
from restmap_gateway.http.unwritten import Unwritten


class InFlight:
    """Counts requests in flight and refuses those above the limit."""

    def __init__(self, most: int, unwritten: Unwritten) -> None:
        """Create the counter.

        Args:
            most: maximum number of requests in flight.
            unwritten: unread responses; while there are too many, no request is accepted.
        """
        self._most = most
        self._unwritten = unwritten
        self.count = 0
        """Requests in flight."""

    def check(self) -> None:
        """Return if another request may begin.

        Raises:
            Overloaded: 503.
        """
        if self.count >= self._most:
            message = "More requests are being answered than this gateway takes; try again later."
            raise Overloaded(Overload.IN_FLIGHT, message)
        self._unwritten.check_room()


class InFlightRequest:
    """One request: in flight as soon as its body has arrived."""

    def __init__(self, request: BaseRequest, in_flight: InFlight) -> None:
        """Begin the request; its headers are complete."""
        connection = request.protocol
        self._request = request
        self._connection = connection if isinstance(connection, Connection) else None
        self._in_flight = in_flight
        self._was_whole = request.content.is_eof()
        self.is_for_server = False
        """Whether the request, as far as known, is one to call a server for."""
        self.is_streamed = False
        """Whether the response is a stream, which may take any time."""
        self.stages = Stages()
        """Time of ``request`` (until it is complete), ``server`` and ``response``."""
        self._is_counted = False
        if self._connection is not None:
            self._connection.begin(is_whole=self._was_whole)

    def arrived(self) -> None:
        """Note that the request is complete.

        Raises:
            Overloaded: 503, too many requests are in flight.
        """
        if not self._was_whole:  # otherwise nothing has changed since the check at the start
            self._in_flight.check()
        self.is_for_server = True
        self.stages.end("request")
        self.count()

    def count(self) -> None:
        """Count the request as in flight, if it is not counted yet."""
        if not self._is_counted:
            self._is_counted = True
            self._in_flight.count += 1
            if self._connection is not None:
                self._connection.arrived()

    def end(self) -> None:
        """Note that the response is handed to the socket, or that the client is gone."""
        if self._is_counted:
            self._in_flight.count -= 1
        if self._connection is not None:
            self._connection.end(self._request)
