"""TLS to the server: certificates are reloaded when their files change."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc

from programkit.certificates import CertificateWatch, load_ca, load_chain

_LOGGER = "restmap_gateway.upstream.tls"


class UpstreamTls:
    """TLS settings for the server: its CA and the gateway's own certificate."""

    def __init__(self, ca: Path, certificate: Path | None, key: Path | None, name: str | None) -> None:
        """Read the files.

        Args:
            ca: CA of the server's certificate.
            certificate: certificate of this gateway, if the server requires one.
            key: private key of that certificate.
            name: name in the server's certificate; None: the host of the connection.

        Raises:
            CannotUseTls: the files cannot be read or do not match.
        """
        self._ca = ca
        self._pair = (certificate, key) if certificate is not None and key is not None else None
        self.watched = CertificateWatch(_LOGGER, (ca, *(self._pair or ())), self.read)
        self.name = name
        self.read()

    def read(self) -> None:
        """Reload the files; channels that are opened from now on use them.

        Raises:
            CannotUseTls: the files are invalid; the current ones stay in use.
        """
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
        ca = load_ca(context, self._ca)
        certificate, key = load_chain(context, *self._pair) if self._pair is not None else (None, None)
        credentials = grpc.ssl_channel_credentials(ca, key, certificate)
        context.set_alpn_protocols(["h2"])
        self.context, self.credentials = context, credentials
