"""Gateway settings that depend on each other."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from restmap_gateway.config import load
from restmap_gateway.program import RESTMAP_GATEWAY, Program

PREFIX = RESTMAP_GATEWAY.environment_prefix
SET = ("--descriptor-set", "set.binpb")
TLS = ("--tls-certificate", "c.pem", "--tls-key", "k.pem")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (("--listen", "0.0.0.0:80"), ["--tls-certificate", "--tls-key"]),
        (("--listen", "[::]:80", "--tls-key", "k"), ["--tls-certificate"]),
        (("--tls-certificate", "c"), ["--tls-key"]),
        (("--upstream", "sharing.example.org:50051"), ["--upstream-ca"]),
        (("--upstream", "dns:///sharing.example.org:50051"), ["--upstream-ca"]),
        (("--upstream", "127.0.0.1:50051,10.0.0.1:50051"), ["--upstream-ca"]),
        (("--upstream-certificate", "c", "--upstream-key", "k"), ["--upstream-ca"]),
        (("--upstream-name", "n"), ["--upstream-ca"]),
        (("--admin-listen", "0.0.0.0:1"), ["--admin-allow"]),
        (("--admin-listen", "127.0.0.1:8080"), ["--admin-listen"]),
        (("--upstream-ca", "ca", "--upstream-key", "k"), ["--upstream-certificate"]),
        (("--upstream-ca", "ca", "--upstream-certificate", "c"), ["--upstream-key"]),
        (
            ("--listen", "0.0.0.0:80", "--upstream", "10.0.0.1:1", "--max-body", "none"),
            ["--max-body", "--tls-certificate", "--tls-key", "--upstream-ca"],
        ),
    ],
)
def test_what_is_half_set_is_refused_with_all_that_is_missing(
    given: tuple[str, ...], missing: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        load((*SET, *given))
    assert exit_.value.code == 2
    assert [line.split(" ")[0] for line in capsys.readouterr().err.splitlines()] == missing


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("--listen", "localhost:80", "--upstream", "unix:/run/sharing.sock"),
        ("--listen", "0.0.0.0:80", "--upstream", "10.0.0.1:1", "--insecure"),
        ("--listen", "0.0.0.0:80", "--upstream", "10.0.0.1:1", *TLS, "--upstream-ca", "ca.pem"),
        ("--upstream", "dns:///localhost:50051,unix:/run/sharing.sock, [::1]:50052"),
        ("--upstream", "127.0.0.1:1,10.0.0.1:1", "--upstream-ca", "ca.pem"),
    ],
)
def test_loopback_tls_or_saying_that_it_is_insecure_is_enough(given: tuple[str, ...]) -> None:
    load((*SET, *given))


@pytest.mark.parametrize("value", ["false", "off", "0"])
def test_insecure_that_is_off_is_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}INSECURE", value)
    with pytest.raises(SystemExit):
        load((*SET, "--listen", "0.0.0.0:80"))


def test_servers_are_named_by_flags_or_in_a_list_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text('upstream = ["127.0.0.1:1", "dns:///localhost:2"]\n', encoding="utf-8")
    expected = ["127.0.0.1:1", "dns:///localhost:2"]
    assert load((*SET, "--config", str(file))).upstream == expected
    assert load((*SET, "--upstream", ",".join(expected))).upstream == expected
    assert load((*SET, "--upstream", expected[0], "--upstream", expected[1])).upstream == expected
    file.write_text('upstream = "127.0.0.1:1"\n', encoding="utf-8")
    assert load((*SET, "--config", str(file))).upstream == ["127.0.0.1:1"]


def test_every_address_of_a_server_that_is_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    bad = ("nowhere", "dns:///nowhere", "dns://8.8.8.8/localhost:1", "http://localhost:1", "unix:", "localhost:x")
    with pytest.raises(SystemExit):
        load((*SET, "--upstream", ",".join(("localhost:1", *bad)), "--insecure"))
    lines = capsys.readouterr().err.splitlines()
    assert all("--upstream (RESTMAP_GATEWAY_UPSTREAM)" in line for line in lines)
    assert [line.rpartition("got ")[2] for line in lines] == [repr(value) for value in bad]


def test_a_list_without_a_server_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        load((*SET, "--upstream", " , "))
    assert "--upstream" in capsys.readouterr().err


def test_the_version_of_a_program_is_not_that_of_another_set(tmp_path: Path) -> None:
    program = Program("shop-gateway", "SHOP_", descriptor_set=lambda: b"", api_version=lambda: "2.5")
    assert load([], program).api_version == "2.5"
    assert load(["--descriptor-set", str(tmp_path / "set.binpb")], program).api_version is None
    assert load(["--descriptor-set", str(tmp_path / "set.binpb")]).api_version is None
