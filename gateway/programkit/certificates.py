"""Certificates in PEM files: load, check, and reload after a change."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog

LOOK_SECONDS: Final = 5.0
"""Interval between two checks of the files, in seconds."""


class CannotUseTls(Exception):
    """A certificate or key cannot be used; the message names the files."""


def load_chain(context: ssl.SSLContext, certificate: Path, key: Path) -> tuple[bytes, bytes]:
    """Load a certificate, its chain and its key into a context; return the contents of the two files.

    Raises:
        CannotUseTls: a file cannot be read, or the key does not match. The context must not be used then.
    """
    with _refusing(certificate, key):
        context.load_cert_chain(certificate, key, password=_no_password)
        return certificate.read_bytes(), key.read_bytes()


def load_ca(context: ssl.SSLContext, ca: Path) -> bytes:
    """Add a CA to the trusted CAs of a context; return the content of the file.

    Raises:
        CannotUseTls: the file cannot be read, or holds no certificate.
    """
    with _refusing(ca):
        context.load_verify_locations(ca)
        return ca.read_bytes()


class CertificateWatch:
    """Reloads files after a change."""

    def __init__(
        self, logger: str, files: Sequence[Path], read: Callable[[], None], logged: Mapping[str, object] | None = None
    ) -> None:
        """Store the current timestamps of the files, without reading the files.

        Args:
            logger: name of the logger for reloads and failures.
            files: files to watch.
            read: reads all files. Raises `CannotUseTls` and changes nothing if the files cannot be used.
            logged: values of the log line about a reload; None: the paths of all files.
        """
        self._logger = logger
        self._files = tuple(files)
        self._read = read
        self._logged = {"files": [str(path) for path in files]} if logged is None else logged
        self._read_at = self._stamps()

    def look(self) -> bool:
        """Reload the files if they have changed; return whether new files are in use."""
        stamps = self._stamps()
        if stamps == self._read_at:
            return False
        log = structlog.get_logger(self._logger)
        try:
            self._read()
        except CannotUseTls as error:
            log.error("certificate", problem=str(error))  # the files may be half written: retry at the next look
            return False
        self._read_at = stamps
        log.info("certificate", **self._logged)
        return True

    async def watch(self, changed: Callable[[], None]) -> None:
        """Look every `LOOK_SECONDS` until cancelled, and call ``changed`` after each reload."""
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
    return ""  # without a callback OpenSSL prompts for a password on the terminal
