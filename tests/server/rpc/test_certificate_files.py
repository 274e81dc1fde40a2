"""Each port of the server gets new certificates, however the change was found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from backup_sharing.rpc.tls import CertificateFiles
from programkit.certificates import CannotUseTls
from tests.support.certificates import Certificates

Changed = Callable[[], object]


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> list[Changed]:
    """Calls by gRPC at each handshake, for each port."""
    asked: list[Changed] = []

    def credentials(first: object, changed: Changed, **_: Any) -> object:  # noqa: ANN401 - gRPC has no types
        asked.append(changed)
        return first

    monkeypatch.setattr(grpc, "dynamic_ssl_server_credentials", credentials)
    return asked


def test_every_port_gets_a_renewed_certificate_once(tmp_path: Path, ports: list[Changed]) -> None:
    certificates = Certificates(tmp_path)
    files = CertificateFiles(*certificates.issue("server", "localhost"), None)
    for _ in range(2):
        files.credentials()
    certificates.issue("server", "localhost")
    assert [changed() is not None for changed in ports] == [True, True]
    assert [changed() for changed in ports] == [None, None]


def test_a_reload_reaches_the_next_handshake(tmp_path: Path, ports: list[Changed]) -> None:
    certificates = Certificates(tmp_path)
    files = CertificateFiles(*certificates.issue("server", "localhost"), None)
    files.credentials()
    certificates.issue("server", "localhost")
    assert files.reload() == str(tmp_path / "server.pem")
    assert [changed() is not None for changed in ports] == [True]


def test_a_reload_of_garbage_keeps_the_certificate(tmp_path: Path, ports: list[Changed]) -> None:
    files = CertificateFiles(*Certificates(tmp_path).issue("server", "localhost"), None)
    files.credentials()
    (tmp_path / "server.key").write_text("garbage")
    with pytest.raises(CannotUseTls, match=r"server\.key"):
        files.reload()
    assert [changed() for changed in ports] == [None]
