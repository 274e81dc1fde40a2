"""TLS at the server's door: certificates that are read again when their files change."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc
import structlog


class CannotUseTls(Exception):
    """Certificate or key cannot be used; the message names the files."""


class CertificateFiles:
    """A certificate with its key and, to ask callers for theirs, the CA that signed those; each a PEM file."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        """Read the files.

        Raises:
            CannotUseTls: they cannot be read, or do not belong together.
        """
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._read_at = self._stamps()
        self._first = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """What a port is opened with; looks for other files at each handshake."""
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self._changed,  # type: ignore[arg-type]  # may answer None, by its documentation
            require_client_authentication=self._client_ca is not None,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        # gRPC asks in a thread of its own, and takes None for: as before.
        stamps = self._stamps()
        if stamps == self._read_at:
            return None
        log = structlog.get_logger("server.tls")
        try:
            configuration = self._read()
        except CannotUseTls as error:
            # Perhaps only half of them is written yet; the next handshake looks again.
            log.error("certificate", problem=str(error))
            return None
        self._read_at = stamps
        log.info("certificate", certificate=str(self._certificate))
        return configuration

    def _stamps(self) -> list[tuple[int, int] | None]:
        return [None if path is None else _stamp(path) for path in (self._certificate, self._key, self._client_ca)]

    def _read(self) -> grpc.ServerCertificateConfiguration:
        paths = f"{self._certificate}, {self._key}"
        try:
            # gRPC itself would take anything, and then fail every handshake.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
            ca = None
            if self._client_ca is not None:
                paths = str(self._client_ca)
                context.load_verify_locations(self._client_ca)
                ca = self._client_ca.read_bytes()
            return grpc.ssl_server_certificate_configuration(
                [(self._key.read_bytes(), self._certificate.read_bytes())], root_certificates=ca
            )
        except ssl.SSLError as error:
            reason = error.reason or "no PEM file, or protected by a password"
            raise CannotUseTls(f"{paths}: cannot be used: {reason.lower().replace('_', ' ')}") from None
        except OSError as error:
            raise CannotUseTls(f"{error.filename or paths}: cannot be read: {error.strerror}") from None


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_ino)


def _no_password() -> str:
    return ""  # otherwise OpenSSL asks for one on the terminal
