"""TLS for clients: the certificate is reloaded when its files change."""

from __future__ import annotations

import ssl
from pathlib import Path

from programkit.certificates import CertificateWatch, load_chain

_LOGGER = "restmap_gateway.http.listen_tls"


class ListenTls:
    """The gateway's certificate, presented to clients."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read the files.

        Raises:
            CannotUseTls: the files cannot be read or do not match.
        """
        self._pair = (certificate, key)
        self.watched = CertificateWatch(_LOGGER, self._pair, self.read)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.read()

    def read(self) -> None:
        """Reload the files; all further connections use them.

        Raises:
            CannotUseTls: the files are invalid; the current certificate stays in use.
        """
        # Loading a pair that does not match leaves a context unusable, so try it on another context first.
        for context in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.context):
            load_chain(context, *self._pair)
