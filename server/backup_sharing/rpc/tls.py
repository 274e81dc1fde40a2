"""TLS of the gRPC port, with certificates that are reloaded when their files change."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc

from programkit.certificates import CertificateWatch, load_ca, load_chain


class CertificateFiles:
    """PEM files of the server's certificate and key and, to require client certificates, of the clients' CA."""

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None) -> None:
        """Read the files.

        Raises:
            CannotUseTls: a file cannot be read, or the key does not match the certificate.
        """
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        files = [path for path in (certificate, key, client_ca) if path is not None]
        self._watch = CertificateWatch("server.tls", files, self._read, {"certificate": str(certificate)})
        self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Return the credentials for a port, which check for changed files at each handshake."""
        given = self._configuration

        def changed() -> grpc.ServerCertificateConfiguration | None:
            # gRPC calls this in its own thread; None means: keep the current certificate.
            nonlocal given
            self._watch.look()
            if given is self._configuration:
                return None
            given = self._configuration
            return given

        return grpc.dynamic_ssl_server_credentials(
            given,
            changed,  # type: ignore[arg-type]  # gRPC documents that the function may return None
            require_client_authentication=self._client_ca is not None,
        )

    def reload(self) -> str:
        """Read the files again, changed or not; return their names. Further handshakes use them.

        Raises:
            CannotUseTls: the files cannot be used; the current ones stay in use.
        """
        self._watch.reload()
        return str(self._certificate)

    def _read(self) -> None:
        # gRPC does not validate the files: invalid ones would make every handshake fail.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate, key = load_chain(context, self._certificate, self._key)
        ca = None if self._client_ca is None else load_ca(context, self._client_ca)
        self._configuration = grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=ca)
