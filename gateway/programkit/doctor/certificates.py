"""Checks of certificates: whether they can be used, and for how many days."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from programkit.certificates import CannotUseTls, load_ca, load_chain
from programkit.doctor.findings import Check, Finding, failed, ok, warning

DAYS_LEFT: Final = 14
"""Days before the end of a certificate from which there is a warning."""
_DAY: Final = 86_400.0
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_RENEW: Final = "renew it; the program reads the new files by itself"


def pair(certificate: Path, key: Path) -> Check:
    """Return a check of a certificate, its chain and its key."""

    def check() -> Iterator[Finding]:
        try:
            load_chain(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)
        except CannotUseTls as error:
            yield failed(str(error), "name a PEM file and its key, readable by the program's user")
            return
        yield _days_of(certificate)

    return check


def authority(ca: Path) -> Check:
    """Return a check of a file of CAs."""

    def check() -> Iterator[Finding]:
        try:
            load_ca(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ca)
        except CannotUseTls as error:
            yield failed(str(error), "name a PEM file with the CA's certificate, readable by the program's user")
            return
        yield _days_of(ca)

    return check


def _days_of(path: Path) -> Finding:
    """Return how long all certificates of a PEM file are valid."""
    try:
        spans = [validity(ssl.PEM_cert_to_DER_cert(text)) for text in _PEM.findall(path.read_text(encoding="utf-8"))]
        begin, end = max(begin for begin, _ in spans), min(end for _, end in spans)
    except (ValueError, IndexError) as error:
        return warning(f"{path}: its dates cannot be read: {error}", "look at it with openssl x509 -noout -dates")
    now = time.time()
    days, until = int((end - now) // _DAY), f"{datetime.fromtimestamp(end, UTC):%Y-%m-%d}"
    if begin > now:
        return failed(
            f"{path}: not valid before {datetime.fromtimestamp(begin, UTC):%Y-%m-%dT%H:%MZ}", "check the clock"
        )
    if end <= now:
        return failed(f"{path}: expired on {until}", _RENEW)
    return (
        warning(f"{path}: {days} days left, until {until}", _RENEW)
        if days < DAYS_LEFT
        else ok(f"{path}: {days} days left, until {until}")
    )


def validity(der: bytes) -> tuple[float, float]:
    """Return begin and end of a certificate's validity, in seconds since 1970.

    Raises:
        ValueError, IndexError: this is no certificate.
    """
    certificate = _parts(_content(der))
    fields = _parts(_content(certificate[0]))
    # version (only from version 2 on, with tag 0), serial number, algorithm, issuer, validity
    begin, end = _parts(_content(fields[4 if fields[0][0] == 0xA0 else 3]))
    return _time(begin), _time(end)


def _time(value: bytes) -> float:
    text = _content(value).decode("ascii")
    # A time with a year of two digits is of 1950 to 2049; Python's is of 1969 to 2068.
    text = text if value[0] == 0x18 else f"{'19' if text[:2] >= '50' else '20'}{text}"
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _parts(content: bytes) -> list[bytes]:
    """Return the elements of a DER sequence, each with its tag and length."""
    parts = []
    while content:
        end = sum(_extent(content))
        if end > len(content):
            raise ValueError("an element is cut off")
        parts.append(content[:end])
        content = content[end:]
    return parts


def _content(element: bytes) -> bytes:
    begin, length = _extent(element)
    return element[begin : begin + length]


def _extent(element: bytes) -> tuple[int, int]:
    """Return where the content of a DER element begins, and its length."""
    first = element[1]
    if first < 0x80:
        return 2, first
    return 2 + (first & 0x7F), int.from_bytes(element[2 : 2 + (first & 0x7F)], "big")
