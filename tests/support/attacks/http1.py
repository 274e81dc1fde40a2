"""Attacks on an HTTP/1.1 server that need no token: the cost of connections and requests before authentication.

An attack keeps its connections open, as a `Crowd`, until ``close``. A server that closes connections or stops reading
has defended itself: the attack then ends without an error.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

STALLED_SECONDS: Final = 2.0
"""Seconds without progress after which the server is assumed to have stopped reading."""

MEGABYTE: Final = 1 << 20


class Crowd:
    """Connections of one client to one server."""

    def __init__(self, address: str) -> None:
        """Store the address, HOST:PORT; open no connection yet."""
        host, _, port = address.rpartition(":")
        self._target = (host.strip("[]"), int(port))
        self.sockets: list[socket.socket] = []
        self.sent = 0
        """Bytes sent so far."""
        self.refused = 0
        """Connections that failed to open or to send."""

    def join(self, data: bytes = b"", *, receive_buffer: int = 0) -> None:
        """Open a connection and send data on it; ``receive_buffer`` bytes limit the data in flight to the client."""
        try:
            connection = socket.socket()
            if receive_buffer:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.settimeout(STALLED_SECONDS)
            connection.connect(self._target)
        except OSError:
            self.refused += 1
            return
        self.sockets.append(connection)
        self._send(connection, data)

    def send(self, data: bytes) -> None:
        """Send data on every connection."""
        for connection in self.sockets:
            self._send(connection, data)

    def hung_up(self) -> int:
        """Read all received data; return the number of connections that the server has closed."""
        return sum(map(_is_closed, self.sockets))

    def close(self) -> None:
        """Close all connections."""
        for connection in self.sockets:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, connection: socket.socket, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                taken = connection.send(view)
            except OSError:
                self.refused += 1
                return
            self.sent += taken
            view = view[taken:]


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def request(method: str, target: str, *lines: str, body: bytes = b"") -> bytes:
    """Return the bytes of a request; a body gets its Content-Length."""
    length = (f"Content-Length: {len(body)}",) if body else ()
    head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: gateway.test", *lines, *length, "", ""])
    return head.encode("utf-8", "surrogateescape") + body


def idle(address: str, connections: int) -> Crowd:
    """Open connections and send nothing, like TLS handshakes that never begin."""
    return _crowd(address, connections, b"")


def half_headers(address: str, connections: int, size: int) -> Crowd:
    """Send requests whose headers stop unfinished after ``size`` bytes."""
    line = b"X-Padding: " + b"x" * 8000 + b"\r\n"
    head = request("GET", "/")[:-2] + line * (size // len(line) + 1)
    return _crowd(address, connections, head[:size])


def half_bodies(address: str, connections: int, target: str, size: int) -> Crowd:
    """Send requests whose bodies lack the last byte."""
    head = request("POST", target, "Content-Type: application/json", f"Content-Length: {size}")
    return _crowd(address, connections, head + b" " * (size - 1))


def unread(address: str, connections: int, asking: bytes) -> Crowd:
    """Send requests and never read the responses."""
    crowd = Crowd(address)
    for _ in range(connections):
        crowd.join(asking, receive_buffer=4096)
    return crowd


def garbage(address: str, connections: int, data: bytes = b"\x16\x03\x01 nonsense\r\n\r\n") -> Crowd:
    """Send bytes that are not HTTP on every connection."""
    return _crowd(address, connections, data)


def _crowd(address: str, connections: int, data: bytes) -> Crowd:
    crowd = Crowd(address)
    for _ in range(connections):
        crowd.join(data)
    return crowd


def tiny_chunks(target: str, size: int = MEGABYTE) -> bytes:
    """Return a request whose body consists of chunks of one byte."""
    head = request("POST", target, "Content-Type: application/json", "Transfer-Encoding: chunked")
    return head + b"1\r\n \r\n" * size + b"0\r\n\r\n"


def costly_bodies(size: int = MEGABYTE) -> Mapping[str, bytes]:
    """Return bodies of about ``size`` bytes that are cheap to send and expensive to parse."""
    return {
        "objects": b"[" + b"{}," * (size // 3) + b"{}]",
        "numbers": b"[" + b"0," * (size // 2) + b"0]",
        "strings": b"[" + b'"",' * (size // 3) + b'""]',
        "members": b"{" + b",".join(b'"%07d":0' % number for number in range(size // 12)) + b"}",
        "a name given twice": b"{" + b",".join(b'"%07d":0' % number for number in range(size // 12)) + b',"0000001":0}',
        "levels": b"[" * size,
        "what closes nothing": b"[" * 101 + b"]" * size,
        "long integers": b"[" + b",".join([b"9" * 4300] * (size // 4301)) + b"]",
        "escapes": b'"' + b"\\u0041" * (size // 6) + b'"',
        "pairs of surrogates": b'"' + b"\\ud83d\\ude00" * (size // 12) + b'"',
        "a long name": b'{"' + b"x" * size + b'":0}',
        "a long value": b'{"note":["' + b"x" * size + b'"]}',
        "blanks": b" " * size + b"x",
    }


def costly_headers(size: int = 16_000) -> Mapping[str, bytes]:
    """Return requests whose headers or targets are expensive to parse."""
    return {
        "ranges": request("GET", "/", "Accept: " + "a," * (size // 2)),
        "parameters of a range": request("GET", "/", "Accept: a" + ";b" * (size // 2)),
        "encodings": request("GET", "/", "Accept-Encoding: " + "a," * (size // 2)),
        "hops": request("GET", "/", "X-Forwarded-For: " + "10.0.0.1," * (size // 9)),
        "cookies": request("GET", "/", "Cookie: " + "a=b;" * (size // 4)),
        "segments": request("GET", "/" + "a/" * (size // 2)),
        "query": request("GET", "/?" + "a&" * (size // 2)),
        "many headers": request("GET", "/", *[f"X-{number}: " + "x" * 8000 for number in range(120)]),
    }
