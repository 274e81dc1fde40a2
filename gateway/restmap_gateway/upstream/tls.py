"""TLS to the server: certificates that are read again when their files change."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc

from programkit.certificates import CertificateWatch, load_ca, load_chain

_LOGGER = "restmap_gateway.upstream.tls"


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
        self.watched = CertificateWatch(_LOGGER, (ca, *(self._pair or ())), self.read)
        self.name = name
        self.read()

    def read(self) -> None:
        """Use what the files hold now for channels that are opened from now on.

        Raises:
            CannotUseTls: what they hold is of no use; all stays as it was.
        """
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
        ca = load_ca(context, self._ca)
        certificate, key = load_chain(context, *self._pair) if self._pair is not None else (None, None)
        credentials = grpc.ssl_channel_credentials(ca, key, certificate)
        context.set_alpn_protocols(["h2"])
        self.context, self.credentials = context, credentials
