"""Certificates in PEM files: read, checked, and read again when the files change."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

LOOK_SECONDS: Final = 5.0
"""How often files are looked at."""


class CannotUseTls(Exception):
    """A certificate or key cannot be used; the message names the files."""


def load_chain(context: ssl.SSLContext, certificate: Path, key: Path) -> tuple[bytes, bytes]:
    """Load a certificate, with its chain, and its key into a context; returns what the two files hold.

    Raises:
        CannotUseTls: they cannot be read, or do not belong together. The context may be spoilt.
    """
    with _refusing(certificate, key):
        context.load_cert_chain(certificate, key, password=_no_password)
        return certificate.read_bytes(), key.read_bytes()


def load_ca(context: ssl.SSLContext, ca: Path) -> bytes:
    """Have a context trust what a CA signed; returns what the file holds.

    Raises:
        CannotUseTls: it cannot be read, or holds no certificate.
    """
    with _refusing(ca):
        context.load_verify_locations(ca)
        return ca.read_bytes()


class CertificateWatch:
    """Notices that files have changed, and reads them again."""

    def __init__(
        self, logger: str, files: Sequence[Path], read: Callable[[], None], logged: Mapping[str, object] | None = None
    ) -> None:
        """Remember the files as they are now; what they hold is not read.

        Args:
            logger: name of the logger that says what was read, and what could not be used.
            files: which to look at.
            read: reads all of them. It raises `CannotUseTls` and leaves everything as it was if it cannot use them.
            logged: values of the line that says that they were read; None: all files.
        """
        self._logger = logger
        self._files = tuple(files)
        self._read = read
        self._logged = {"files": [str(path) for path in files]} if logged is None else logged
        self._read_at = self._stamps()

    def look(self) -> bool:
        """Read the files if they have changed; returns whether new ones are in use."""
        stamps = self._stamps()
        if stamps == self._read_at:
            return False
        log = structlog.get_logger(self._logger)
        try:
            self._read()
        except CannotUseTls as error:
            log.error("certificate", problem=str(error))  # perhaps only half of them is written yet: look again
            return False
        self._read_at = stamps
        log.info("certificate", **self._logged)
        return True

    async def watch(self, changed: Callable[[], None]) -> None:
        """Look every `LOOK_SECONDS`, and call ``changed`` whenever new files are in use; goes on until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self.look():
                changed()

    def _stamps(self) -> list[tuple[int, int]]:
        return [_stamp(path) for path in self._files]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_ino)


@contextmanager
def _refusing(*files: Path) -> Iterator[None]:
    paths = ", ".join(map(str, files))
    try:
        yield
    except ssl.SSLError as error:
        reason = (error.reason or "no PEM file, or protected by a password").lower().replace("_", " ")
        raise CannotUseTls(f"{paths}: cannot be used: {reason}") from None
    except OSError as error:
        raise CannotUseTls(f"{error.filename or paths}: cannot be read: {error.strerror}") from None


def _no_password() -> str:
    return ""  # otherwise OpenSSL asks for one on the terminal
