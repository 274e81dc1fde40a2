"""TLS on both sides of the gateway: certificates that are read again when their files change."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
import structlog

LOOK_SECONDS = 5.0
"""How often files are looked at."""


class CannotUseTls(Exception):
    """A certificate or key cannot be used; the message names the file."""


class ListenTls:
    """The certificate that clients see."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read the files.

        Raises:
            CannotUseTls: they cannot be read, or do not belong together.
        """
        self.files = (certificate, key)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.read()

    def read(self) -> None:
        """Use what the files hold now for all connections from now on.

        Raises:
            CannotUseTls: what they hold is of no use; all stays as it was.
        """
        # What is loaded into a context and does not fit spoils it, so that it is tried on another.
        for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.context):
            _load_chain(context, *self.files)


class UpstreamTls:
    """How the server is known, and how this gateway shows itself to it."""

    def __init__(self, ca: Path, certificate: Path | None, key: Path | None, name: str | None) -> None:
        """Read the files.

        Args:
            ca: signed the server's certificate.
            certificate: of this gateway, if the server asks for one.
            key: of that certificate.
            name: that the server's certificate has; None: the host that is connected to.

        Raises:
            CannotUseTls: they cannot be read, or do not belong together.
        """
        self._ca = ca
        self._pair = (certificate, key) if certificate is not None and key is not None else None
        self.files = (ca, *(self._pair or ()))
        self.name = name
        self.read()

    def read(self) -> None:
        """Use what the files hold now for channels that are opened from now on.

        Raises:
            CannotUseTls: what they hold is of no use; all stays as it was.
        """
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
        try:
            context.load_verify_locations(self._ca)
            if self._pair is not None:
                _load_chain(context, *self._pair)
            certificate, key = (path.read_bytes() for path in self._pair) if self._pair else (None, None)
            credentials = grpc.ssl_channel_credentials(self._ca.read_bytes(), key, certificate)
        except ssl.SSLError as error:
            raise CannotUseTls(f"{self._ca}: cannot be used: {_reason(error)}") from None
        except OSError as error:
            raise CannotUseTls(f"{error.filename or self._ca}: cannot be read: {error.strerror}") from None
        context.set_alpn_protocols(["h2"])
        self.context, self.credentials = context, credentials


async def watch(tls: ListenTls | UpstreamTls, changed: Callable[[], None]) -> None:
    """Read the files whenever they change, and say so; goes on until cancelled."""
    log = structlog.get_logger("restmap_gateway.upstream.tls")
    read_at = _stamps(tls.files)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if (stamps := _stamps(tls.files)) == read_at:
            continue
        try:
            tls.read()
        except CannotUseTls as error:
            log.error("certificate", problem=str(error))  # perhaps only half of them is written yet: look again
            continue
        read_at = stamps
        log.info("certificate", files=[str(path) for path in tls.files])
        changed()


def _load_chain(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")  # rather than ask on the terminal
    except ssl.SSLError as error:
        raise CannotUseTls(f"{certificate}, {key}: cannot be used: {_reason(error)}") from None
    except OSError as error:
        raise CannotUseTls(f"{certificate}, {key}: cannot be read: {error.strerror}") from None


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "no PEM file, or protected by a password").lower().replace("_", " ")


def _stamps(files: Sequence[Path]) -> Sequence[tuple[int, int]]:
    return [_stamp(path) for path in files]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_ino)
