"""Certificates in PEM files: load, check, and reload after a change."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from programkit.watched_files import WatchedFiles


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


class CertificateWatch(WatchedFiles):
    """Certificates and keys that are read again after a change."""

    def __init__(
        self, logger: str, files: Sequence[Path], read: Callable[[], None], logged: Mapping[str, object] | None = None
    ) -> None:
        """Watch files; ``read`` raises `CannotUseTls` and changes nothing if they cannot be used."""
        super().__init__(logger, "certificate", files, read, unusable=CannotUseTls, logged=logged)


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
