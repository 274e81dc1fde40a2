"""Certificates are checked when they are read, and read again when their files change."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
import structlog

from programkit.certificates import CannotUseTls, CertificateWatch, load_ca, load_chain
from tests.support.certificates import Certificates


def context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def test_files_that_belong_together_are_read(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificate, key = certificates.issue("server", "localhost")
    assert load_chain(context(), certificate, key) == (certificate.read_bytes(), key.read_bytes())
    assert load_ca(context(), certificates.ca) == certificates.ca.read_bytes()


def test_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificate, _ = certificates.issue("server", "localhost")
    _, key = certificates.issue("other", "localhost")
    with pytest.raises(CannotUseTls, match=r"server\.pem, .*other\.key: cannot be used: key values mismatch"):
        load_chain(context(), certificate, key)


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.txt").write_text("no certificate")
    with pytest.raises(CannotUseTls, match=r"ca\.txt: cannot be used: "):
        load_ca(context(), tmp_path / "ca.txt")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotUseTls, match=r"ca\.pem: cannot be read: No such file"):
        load_ca(context(), tmp_path / "ca.pem")


def test_files_are_read_again_when_they_change(tmp_path: Path) -> None:
    path, read = tmp_path / "c.pem", list[str]()
    path.write_text("first")
    watch = CertificateWatch("any", [path], lambda: read.append(path.read_text()))
    assert not watch.look()
    path.write_text("second")
    os.utime(path, ns=(1, 1))
    with structlog.testing.capture_logs() as logged:
        assert watch.look()
        assert not watch.look()
    assert read == ["second"]
    assert logged == [{"event": "certificate", "files": [str(path)], "log_level": "info"}]


def test_what_cannot_be_used_is_looked_at_again(tmp_path: Path) -> None:
    path, problems = tmp_path / "c.pem", [CannotUseTls("half of it is missing")]

    def read() -> None:
        if problems:
            raise problems.pop()

    watch = CertificateWatch("any", [path], read, {"certificate": "c.pem"})
    path.write_text("new")
    with structlog.testing.capture_logs() as logged:
        assert [watch.look(), watch.look(), watch.look()] == [False, True, False]
    assert logged == [
        {"event": "certificate", "problem": "half of it is missing", "log_level": "error"},
        {"event": "certificate", "certificate": "c.pem", "log_level": "info"},
    ]


def test_a_problem_is_logged_once_however_often_it_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "c.pem"

    def read() -> None:
        raise CannotUseTls(f"{path}: half of it is missing")

    watch = CertificateWatch("any", [path], read)
    path.write_text("ha")
    with structlog.testing.capture_logs() as logged:
        assert [watch.look() for _ in range(3)] == [False] * 3
    assert len(logged) == 1
    path.write_text("half")
    with structlog.testing.capture_logs() as logged:
        assert not watch.look()
    assert len(logged) == 1


def test_a_reload_reads_files_that_have_not_changed(tmp_path: Path) -> None:
    path, read = tmp_path / "c.pem", list[str]()
    path.write_text("first")
    watch = CertificateWatch("any", [path], lambda: read.append(path.read_text()))
    assert not watch.reload()
    path.write_text("second")
    assert watch.reload()
    assert not watch.look()
    assert read == ["first", "second"]
