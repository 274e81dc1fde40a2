"""TLS of clients: a certificate that is read again when its files change."""

from __future__ import annotations

import ssl
from pathlib import Path

from programkit.certificates import CertificateWatch, load_chain

_LOGGER = "restmap_gateway.http.listen_tls"


class ListenTls:
    """The certificate that clients see."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read the files.

        Raises:
            CannotUseTls: they cannot be read, or do not belong together.
        """
        self._pair = (certificate, key)
        self.watched = CertificateWatch(_LOGGER, self._pair, self.read)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.read()

    def read(self) -> None:
        """Use what the files hold now for all connections from now on.

        Raises:
            CannotUseTls: what they hold is of no use; all stays as it was.
        """
        # What is loaded into a context and does not fit spoils it, so that it is tried on another.
        for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.context):
            load_chain(context, *self._pair)
