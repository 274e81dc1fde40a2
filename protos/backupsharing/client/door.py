"""How to reach a server: address, TLS, and the metadata of a token."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc

LONGEST_ANSWER = 128 << 20
"""Bytes: more than a page of 1000 with all that backups may carry; gRPC's own limit is 4 MiB."""

OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.max_receive_message_length", LONGEST_ANSWER),
    # A server that comes back is found within a pause or two, not only after gRPC's two minutes.
    ("grpc.max_reconnect_backoff_ms", 2000),
)

File = str | os.PathLike[str]


class BadDoor(ValueError):
    """The files for TLS do not belong together, or cannot be read, or are no PEM; or the token cannot be one."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where a server is, and by what it and its caller show who they are.

    >>> Door("127.0.0.1:50051").credentials() is None
    True
    """

    target: str
    """``HOST:PORT``, ``unix:PATH``, or another of gRPC's names."""
    ca: File | None = None
    """PEM file that signed the server's certificate; None: plain text."""
    certificate: File | None = None
    """PEM file to show to the server, with `key`."""
    key: File | None = None

    def channel(self) -> grpc.Channel:
        """Open a channel for calls that block.

        Raises:
            BadDoor: see `credentials`.
        """
        credentials = self.credentials()
        if credentials is None:
            return grpc.insecure_channel(self.target, options=OPTIONS)
        return grpc.secure_channel(self.target, credentials, options=OPTIONS)

    def aio_channel(self) -> grpc.aio.Channel:
        """Open a channel for calls that are awaited, on the running loop.

        Raises:
            BadDoor: see `credentials`.
        """
        return self.aio_opener()()

    def aio_opener(self) -> Callable[[], grpc.aio.Channel]:
        """Read the files now; what is answered opens a channel, on the loop that runs by then.

        Raises:
            BadDoor: see `credentials`.
        """
        credentials = self.credentials()
        if credentials is None:
            return partial(grpc.aio.insecure_channel, self.target, options=OPTIONS)
        return partial(grpc.aio.secure_channel, self.target, credentials, options=OPTIONS)

    def credentials(self) -> grpc.ChannelCredentials | None:
        """What TLS is spoken with; None: it is not.

        Raises:
            BadDoor: a file cannot be read or is no PEM, one of them is missing, or the key is of another certificate.
        """
        if self.ca is None:
            if self.certificate or self.key:
                raise BadDoor("ca is missing beside certificate and key")
            return None
        if bool(self.certificate) != bool(self.key):
            raise BadDoor("certificate and key belong together")
        ca, key, certificate = _read(self.ca), _read(self.key), _read(self.certificate)
        # gRPC itself only says later, and with every call, that it has no address.
        _check_ca(self.ca, ca)
        if self.certificate and self.key:
            _check_pair(self.certificate, self.key)
        return grpc.ssl_channel_credentials(ca, key, certificate)


def metadata_of(token: str) -> tuple[tuple[str, str], ...]:
    """What a token is sent as.

    Raises:
        BadDoor: it has characters that cannot be sent.
    """
    if not (token.isascii() and token.isprintable()):
        # Not shown: it may be a token with a line break at its end.
        raise BadDoor("the token has characters that no token has; is there a line break at its end?")
    return (("x-auth-token", token),) if token else ()


def _check_ca(file: File, content: bytes | None) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=(content or b"").decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise BadDoor(f"{os.fspath(file)}: is no certificate in PEM") from None


def _check_pair(certificate: File, key: File) -> None:
    try:
        # Without the empty password OpenSSL would ask the terminal for one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=str)
    except (ssl.SSLError, ValueError):
        both = f"{os.fspath(certificate)} and {os.fspath(key)}"
        raise BadDoor(f"{both}: are no certificate in PEM and its key, without a password") from None


def _read(file: File | None) -> bytes | None:
    if file is None:
        return None
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise BadDoor(f"{error.filename}: cannot be read: {error.strerror}") from None
