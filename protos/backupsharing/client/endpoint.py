"""The connection to a server: address, TLS, and the metadata with the token."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc

from backupsharing.client.target import BadTarget, grpc_target, is_local

LONGEST_ANSWER = 128 << 20
"""Maximum bytes of a response: more than a page of 1000 sharings of the largest backups. gRPC's default is 4 MiB."""

OPTIONS: Sequence[tuple[str, int | str]] = (
    ("grpc.max_receive_message_length", LONGEST_ANSWER),
    # Reconnect to a restarted server within one or two pauses between retries; gRPC's default is two minutes.
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Take turns between all addresses of the target; gRPC's default uses the first that answers for all calls.
    ("grpc.lb_policy_name", "round_robin"),
)

File = str | os.PathLike[str]


class BadEndpoint(ValueError):
    """The connection is refused before it is made: TLS files or the target are invalid, or TLS is missing.

    TLS files do not belong together, cannot be read or are not PEM; the token has invalid characters; or plain text to
    another machine was not allowed.
    """


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of a server, and the TLS files of server and client.

    >>> Endpoint("127.0.0.1:50051").credentials() is None
    True
    """

    target: str
    """``HOST:PORT``, ``unix:PATH``, or another gRPC target; ``IP:PORT,IP:PORT`` for several servers."""
    ca: File | None = None
    """PEM file with the CA of the server's certificate; None: plain text, no TLS."""
    certificate: File | None = None
    """PEM file with the client's certificate, together with `key`."""
    key: File | None = None
    insecure: bool = False
    """Whether plain text may be used to other machines: everybody between can then read the token."""

    def channel(self) -> grpc.Channel:
        """Open a channel for blocking calls.

        Raises:
            BadEndpoint: see `credentials`.
        """
        credentials = self.credentials()
        if credentials is None:
            return grpc.insecure_channel(self._target(), options=OPTIONS)
        return grpc.secure_channel(self._target(), credentials, options=OPTIONS)

    def aio_channel(self) -> grpc.aio.Channel:
        """Open a channel for asyncio on the running event loop.

        Raises:
            BadEndpoint: see `credentials`.
        """
        return self.aio_opener()()

    def aio_opener(self) -> Callable[[], grpc.aio.Channel]:
        """Read the files now. Return a function that opens a channel on the event loop that runs then.

        Raises:
            BadEndpoint: see `credentials`.
        """
        credentials = self.credentials()
        if credentials is None:
            return partial(grpc.aio.insecure_channel, self._target(), options=OPTIONS)
        return partial(grpc.aio.secure_channel, self._target(), credentials, options=OPTIONS)

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Return the TLS credentials; None means plain text.

        Raises:
            BadEndpoint: a file is missing, cannot be read or is not PEM, key and certificate do not match, or plain
                text to another machine was not allowed.
        """
        if self.ca is None:
            if self.certificate or self.key:
                raise BadEndpoint("certificate and key need ca as well")
            if not (self.insecure or is_local(self.target)):
                raise BadEndpoint(
                    f"{self.target}: the token would be sent in plain text to another machine; give ca, the CA of the"
                    " server's certificate, or insecure to allow that"
                )
            return None
        if bool(self.certificate) != bool(self.key):
            raise BadEndpoint("certificate and key belong together")
        ca, key, certificate = _read(self.ca), _read(self.key), _read(self.certificate)
        # With bad files gRPC would only fail later, in every call, with a message about addresses.
        _check_ca(self.ca, ca)
        if self.certificate and self.key:
            _check_pair(self.certificate, self.key)
        return grpc.ssl_channel_credentials(ca, key, certificate)

    def _target(self) -> str:
        try:
            return grpc_target(self.target)
        except BadTarget as error:
            raise BadEndpoint(str(error)) from None


def metadata_of(token: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata that carry a token.

    Raises:
        BadEndpoint: the token has characters that cannot be sent.
    """
    if not (token.isascii() and token.isprintable()):
        # The message does not show the text: it may be a valid token with a line break at its end.
        raise BadEndpoint("the token has invalid characters; does it end with a line break?")
    return (("x-auth-token", token),) if token else ()


def _check_ca(file: File, content: bytes | None) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=(content or b"").decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise BadEndpoint(f"{os.fspath(file)}: not a PEM certificate") from None


def _check_pair(certificate: File, key: File) -> None:
    try:
        # Without the empty password OpenSSL would ask the terminal for one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=str)
    except (ssl.SSLError, ValueError):
        both = f"{os.fspath(certificate)} and {os.fspath(key)}"
        raise BadEndpoint(f"{both}: not a PEM certificate and its key without a password") from None


def _read(file: File | None) -> bytes | None:
    if file is None:
        return None
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise BadEndpoint(f"{error.filename}: cannot be read: {error.strerror}") from None
