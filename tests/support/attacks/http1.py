"""Attacks on an HTTP/1.1 server that need no token: what a connection or a request can cost before it is looked at.

An attack opens its connections and keeps them, as a `Crowd`, until that is closed. A server that hangs up or stops
reading has defended itself: the attack then ends without an error.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

STALLED_SECONDS: Final = 2.0
"""A server that takes nothing for this long does not read on."""

MEGABYTE: Final = 1 << 20


class Crowd:
    """Connections to one server, all of one client."""

    def __init__(self, address: str) -> None:
        """Prepare to connect to HOST:PORT."""
        host, _, port = address.rpartition(":")
        self._target = (host.strip("[]"), int(port))
        self.sockets: list[socket.socket] = []
        self.sent = 0
        """Bytes."""
        self.refused = 0
        """Connections that could not be opened, or that took nothing."""

    def join(self, data: bytes = b"", *, receive_buffer: int = 0) -> None:
        """Open a connection and send something on it; with ``receive_buffer`` bytes it takes in hardly more."""
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
        """Send something on every connection."""
        for connection in self.sockets:
            self._send(connection, data)

    def hung_up(self) -> int:
        """How many connections the server has closed; what it sent on them is read."""
        return sum(map(_is_closed, self.sockets))

    def close(self) -> None:
        """Hang up."""
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
    """The bytes of a request; with a body, its length comes by itself."""
    length = (f"Content-Length: {len(body)}",) if body else ()
    head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: gateway.test", *lines, *length, "", ""])
    return head.encode("utf-8", "surrogateescape") + body


def idle(address: str, connections: int) -> Crowd:
    """Connections that say nothing: also TLS handshakes that never begin."""
    return _crowd(address, connections, b"")


def half_headers(address: str, connections: int, size: int) -> Crowd:
    """Requests whose headers do not end after so many bytes."""
    line = b"X-Padding: " + b"x" * 8000 + b"\r\n"
    head = request("GET", "/")[:-2] + line * (size // len(line) + 1)
    return _crowd(address, connections, head[:size])


def half_bodies(address: str, connections: int, target: str, size: int) -> Crowd:
    """Requests of whose bodies the last byte is missing."""
    head = request("POST", target, "Content-Type: application/json", f"Content-Length: {size}")
    return _crowd(address, connections, head + b" " * (size - 1))


def unread(address: str, connections: int, asking: bytes) -> Crowd:
    """Requests whose answers nobody reads."""
    crowd = Crowd(address)
    for _ in range(connections):
        crowd.join(asking, receive_buffer=4096)
    return crowd


def garbage(address: str, connections: int, data: bytes = b"\x16\x03\x01 nonsense\r\n\r\n") -> Crowd:
    """What is not HTTP, on a connection each."""
    return _crowd(address, connections, data)


def _crowd(address: str, connections: int, data: bytes) -> Crowd:
    crowd = Crowd(address)
    for _ in range(connections):
        crowd.join(data)
    return crowd


def tiny_chunks(target: str, size: int = MEGABYTE) -> bytes:
    """A request whose body comes in chunks of one byte."""
    head = request("POST", target, "Content-Type: application/json", "Transfer-Encoding: chunked")
    return head + b"1\r\n \r\n" * size + b"0\r\n\r\n"


def costly_bodies(size: int = MEGABYTE) -> Mapping[str, bytes]:
    """Bodies that are cheap to send and dear to read, each of about so many bytes."""
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
    """Requests with headers, or targets, that are dear to read."""
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
