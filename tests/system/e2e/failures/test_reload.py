"""SIGHUP at real programs, and their reports to systemd."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Certificates
from tests.support.ports import free_address
from tests.support.programs import AT_ONCE, PATIENCE, Program, Programs
from tests.support.rest import Rest
from tests.support.system import DOCUMENTED_GIVER, Project, write_tokens

pytestmark = pytest.mark.resilience

GIVER = Project(DOCUMENTED_GIVER)


@contextlib.contextmanager
def storm(*programs: Program) -> Iterator[None]:
    """Send SIGHUP to programs without a pause, as soon as Python runs in them."""
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            for program in programs:
                if program.is_running and holds_hangups(program.pid):
                    program.signal(signal.SIGHUP)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        over.set()
        sender.join()


def holds_hangups(pid: int) -> bool:
    """Whether a process has begun to keep SIGHUP pending; before, the interpreter starts and nothing can keep it."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("SigBlk:"):
                return bool(int(line.split()[1], 16) & 1 << (signal.SIGHUP - 1))
    return False


async def test_no_hangup_ends_a_program_or_fails_a_call(programs: Programs, tmp_path: Path) -> None:
    write_tokens(tmp_path, [GIVER])
    listen, rest = free_address(), Rest(free_address())
    files = ("--database", str(tmp_path / "sharings.db"), "--tokens", str(tmp_path / "tokens.json"))
    server = programs.start("server", "--grpc-listen", listen, *files, *AT_ONCE)
    gateway = programs.start("gateway", "--listen", rest.address, "--upstream", listen, *AT_ONCE)
    with storm(server, gateway):
        for program in (server, gateway):
            program.wait_for('"event":"serving"')
        for program in (server, gateway):
            program.wait_for('"event":"reload"')
        for _ in range(200):
            answer = await rest.call("GET", f"{GIVER.path}/count", token=GIVER.token)
            assert answer.status == 200
        for program in (gateway, server):
            program.signal(signal.SIGTERM)
            assert program.wait() == 0
            assert "Exception ignored" not in program.printed


class Systemd:
    """The socket on which a unit of ``Type=notify`` reports."""

    def __init__(self, folder: str) -> None:
        self.name = f"{folder}/notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.name)
        self._socket.settimeout(PATIENCE)

    def wait_for(self, state: str) -> None:
        """Wait for a report; reports before it are dropped."""
        while state not in self._socket.recv(4096).decode().split("\n"):
            pass

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    # The path of a socket must be short; pytest's temporary folders have long paths.
    with tempfile.TemporaryDirectory() as folder:
        found = Systemd(folder)
        yield found
        found.close()


def reloads(program: Program) -> list[dict[str, Any]]:
    """Return all log lines about reloads."""
    lines = (json.loads(line) for line in program.printed.splitlines())
    return [line for line in lines if line["event"] == "reload"]


def serial(address: str, ca: Path) -> str:
    """Return the serial number of the certificate that a port presents."""
    context = ssl.create_default_context(cafile=str(ca))
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), PATIENCE) as raw,
        context.wrap_socket(raw, server_hostname=host) as tls,
    ):
        return str((tls.getpeercert() or {})["serialNumber"])


class Watched:
    """A server or a gateway with TLS and a settings file, as a unit of systemd runs it."""

    def __init__(self, name: str, folder: Path, systemd: Systemd) -> None:
        self.certificates, self.address = Certificates(folder), free_address()
        self.files = self.certificates.issue("own", "127.0.0.1")
        self.settings = folder / "settings.toml"
        self.settings.write_text('log_level = "info"\n')
        write_tokens(folder, [GIVER])
        of_server = ("--database", str(folder / "s.db"), "--tokens", str(folder / "tokens.json"))
        own = ("--grpc-listen", self.address, *of_server) if name == "server" else ("--listen", self.address)
        tls = ("--tls-certificate", str(self.files[0]), "--tls-key", str(self.files[1]))
        self.systemd = systemd
        self.programs = Programs(NOTIFY_SOCKET=systemd.name, WATCHDOG_USEC="200000")
        self.program = self.programs.start(name, *own, *tls, "--config", str(self.settings), *AT_ONCE)

    def reload(self, until: str) -> dict[str, Any]:
        """Send SIGHUP as ``systemctl reload`` does; return the line of the log, which contains a text."""
        self.program.signal(signal.SIGHUP)
        self.systemd.wait_for("RELOADING=1")
        self.systemd.wait_for("READY=1")
        self.program.wait_for(until)
        return reloads(self.program)[-1]

    def serial(self) -> str:
        return serial(self.address, self.certificates.ca)


@pytest.mark.parametrize("name", ["server", "gateway"])
def test_a_unit_starts_reloads_and_stops_as_systemd_expects(name: str, tmp_path: Path, systemd: Systemd) -> None:
    unit = Watched(name, tmp_path, systemd)
    with unit.programs:
        for state in ("READY=1", "WATCHDOG=1"):
            systemd.wait_for(state)
        first, good = unit.serial(), [path.read_bytes() for path in unit.files]
        unit.files[0].write_text("garbage")
        unit.settings.write_text("log_level =\n")
        line = unit.reload('"failed":["')
        assert line["level"] == "error"
        assert {text.partition(":")[0] for text in line["failed"]} == {"certificate", "log level"}
        assert unit.serial() == first
        unit.certificates.issue("own", "127.0.0.1")
        unit.settings.write_text('log_level = "debug"\n')
        line = unit.reload("log level: debug")
        assert line["level"] == "info"
        assert "log level: debug" in line["reloaded"]
        assert unit.serial() != first
        assert good[0] != unit.files[0].read_bytes()
        unit.program.signal(signal.SIGTERM)
        systemd.wait_for("STOPPING=1")
        assert unit.program.wait() == 0
