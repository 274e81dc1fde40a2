"""TLS at the server's door: certificates that are read again when their files change."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc

from programkit.certificates import CertificateWatch, load_ca, load_chain


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
        files = [path for path in (certificate, key, client_ca) if path is not None]
        self._watch = CertificateWatch("server.tls", files, self._read, {"certificate": str(certificate)})
        self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """What a port is opened with; looks for other files at each handshake."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration,
            self._changed,  # type: ignore[arg-type]  # may answer None, by its documentation
            require_client_authentication=self._client_ca is not None,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        # gRPC asks in a thread of its own, and takes None for: as before.
        return self._configuration if self._watch.look() else None

    def _read(self) -> None:
        # gRPC itself would take anything, and then fail every handshake.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate, key = load_chain(context, self._certificate, self._key)
        ca = None if self._client_ca is None else load_ca(context, self._client_ca)
        self._configuration = grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=ca)
