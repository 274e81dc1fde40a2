"""Checks of an installation: bounded in time, and honest about certificates."""

from __future__ import annotations

import resource
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from programkit.doctor.certificates import authority, pair, validity
from programkit.doctor.findings import Finding, State, examine, failed, ok, warning, worst
from programkit.doctor.process import descriptors


def test_a_check_that_hangs_fails_and_the_others_are_shown() -> None:
    goes_on = threading.Event()

    def hangs() -> Iterator[Finding]:
        goes_on.wait()
        yield ok("late")

    rows, is_hanging = examine({"slow": hangs, "quick": lambda: [ok("fine")]}, 0.05)
    goes_on.set()
    assert is_hanging
    assert [(name, finding.state) for name, finding in rows] == [("slow", State.FAILED), ("quick", State.OK)]
    assert "no answer within 0.05 seconds" in rows[0][1].text


def test_a_defect_of_a_check_is_a_finding() -> None:
    def defect() -> Iterator[Finding]:
        yield ok("so far")
        raise ZeroDivisionError("division by zero")

    rows, is_hanging = examine({"defect": defect, "other": lambda: [ok("fine")]}, 30.0)
    assert not is_hanging
    assert [(name, finding.state) for name, finding in rows] == [("defect", State.FAILED), ("other", State.OK)]


def test_the_worst_finding_is_the_exit_code() -> None:
    rows = [("a", ok("")), ("b", failed("", "")), ("c", warning("", ""))]
    assert [int(worst(rows)), int(worst([rows[0], rows[2]])), int(worst(rows[:1])), int(worst([]))] == [2, 1, 0, 0]


class Issued:
    """A certificate, and its key, of some days."""

    def __init__(self, folder: Path, *, begins: float = -1, ends: float) -> None:
        now = datetime.now(UTC)
        ca = trustme.CA()
        span = {"not_before": now + timedelta(days=begins), "not_after": now + timedelta(days=ends)}
        issued = ca.issue_cert("localhost", **span)
        self.ends = span["not_after"]
        self.certificate, self.key = folder / "c.pem", folder / "c.key"
        self.certificate.write_bytes(issued.cert_chain_pems[0].bytes())
        issued.private_key_pem.write_to_path(str(self.key))

    def found(self) -> Finding:
        (finding,) = pair(self.certificate, self.key)()
        return finding


@pytest.mark.parametrize(
    ("ends", "state", "text"),
    [
        (-0.5, State.FAILED, "expired on"),
        (0.5, State.WARNING, "0 days left"),
        (13.5, State.WARNING, "13 days left"),
        (14.5, State.OK, "14 days left"),
        (20_000, State.OK, "days left, until 20"),
    ],
)
def test_a_certificate_is_told_by_its_days(tmp_path: Path, ends: float, state: State, text: str) -> None:
    found = Issued(tmp_path, begins=-2, ends=ends).found()
    assert found.state is state
    assert text in found.text
    assert bool(found.advice) is (state is not State.OK)


def test_a_certificate_of_tomorrow_blames_the_clock(tmp_path: Path) -> None:
    found = Issued(tmp_path, begins=1, ends=100).found()
    assert found.state is State.FAILED
    assert "not valid before" in found.text


@pytest.mark.parametrize("content", ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_garbage_is_named_by_its_file(tmp_path: Path, content: str) -> None:
    issued = Issued(tmp_path, ends=100)
    issued.certificate.write_text(content)
    for check in (pair(issued.certificate, issued.key), authority(issued.certificate)):
        (found,) = check()
        assert found.state is State.FAILED
        assert "c.pem" in found.text


def test_the_shortest_of_several_authorities_counts(tmp_path: Path) -> None:
    paths = []
    for name, days in (("long", 100), ("short", 5)):
        (tmp_path / name).mkdir()
        paths.append(Issued(tmp_path / name, ends=days).certificate)
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(path.read_bytes() for path in paths))
    (found,) = authority(both)()
    assert found.state is State.WARNING
    assert "4 days left" in found.text


def test_dates_are_read_from_every_form_of_a_time(tmp_path: Path) -> None:
    for days in (100, 12_000):  # a time with a year of two digits, and one with four
        issued = Issued(tmp_path, ends=days)
        _, end = validity(ssl.PEM_cert_to_DER_cert(issued.certificate.read_text()))
        assert end == issued.ends.replace(microsecond=0).timestamp()


def test_a_cut_certificate_is_no_defect(tmp_path: Path) -> None:
    der = ssl.PEM_cert_to_DER_cert(Issued(tmp_path, ends=100).certificate.read_text())
    for length in range(120):
        with pytest.raises((ValueError, IndexError)):
            validity(der[:length])


@pytest.mark.parametrize(
    ("soft", "state"), [(100, State.WARNING), (1000, State.OK), (resource.RLIM_INFINITY, State.OK)]
)
def test_few_open_files_are_a_warning(monkeypatch: pytest.MonkeyPatch, soft: int, state: State) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    (found,) = descriptors(1000)()
    assert found.state is state


def test_a_refused_look_at_the_limit_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> tuple[int, int]:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(resource, "getrlimit", refuse)
    (found,) = descriptors(1000)()
    assert found.state is State.WARNING
