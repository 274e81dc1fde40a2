"""Requests in flight: from when they are whole until their answer is handed to the socket."""

from __future__ import annotations

from aiohttp.web import BaseRequest

from restmap_gateway.errors import RequestFailed
from restmap_gateway.http.connection import Connection
from restmap_gateway.http.unwritten import Unwritten


class InFlight:
    """Counts requests, and refuses more than a number of them."""

    def __init__(self, most: int, unwritten: Unwritten) -> None:
        """Prepare.

        Args:
            most: requests in flight.
            unwritten: answers that clients have not taken; while there are too many, no request begins.
        """
        self._most = most
        self._unwritten = unwritten
        self.count = 0
        """Requests in flight."""

    def check(self) -> None:
        """Return if another request may begin.

        Raises:
            RequestFailed: 503.
        """
        if self.count >= self._most:
            raise RequestFailed(503, "More requests are being answered than this gateway takes; try again later.")
        self._unwritten.check_room()


class Turn:
    """One request: it waits while its body arrives, and is in flight from then on."""

    def __init__(self, request: BaseRequest, in_flight: InFlight) -> None:
        """Begin, as the headers are there."""
        connection = request.protocol
        self._request = request
        self._connection = connection if isinstance(connection, Connection) else None
        self._in_flight = in_flight
        self._was_whole = request.content.is_eof()
        self.is_for_server = False
        """Whether the request is one to call a server for, as far as is known."""
        self._is_counted = False
        if self._connection is not None:
            self._connection.begin(is_whole=self._was_whole)

    def arrived(self) -> None:
        """The whole request is there.

        Raises:
            RequestFailed: 503, too many are in flight.
        """
        if not self._was_whole:  # otherwise nothing was waited for since it began
            self._in_flight.check()
        self.is_for_server = True
        self.count()

    def count(self) -> None:
        """The request is in flight from now on, if it is not already."""
        if not self._is_counted:
            self._is_counted = True
            self._in_flight.count += 1
            if self._connection is not None:
                self._connection.arrived()

    def end(self) -> None:
        """The answer is handed to the socket, or the client is gone."""
        if self._is_counted:
            self._in_flight.count -= 1
        if self._connection is not None:
            self._connection.end(self._request)
