"""Reports to systemd over a real datagram socket."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import structlog

from programkit.process.supervisor import Supervisor

PID = os.getpid()
PATIENCE = 30.0


class Systemd:
    """A socket that systemd would read."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)
        self.name = address.replace("\0", "@")

    def told(self) -> list[list[str]]:
        """Return the lines of each report so far."""
        reports = []
        while True:
            try:
                reports.append(self.socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return reports

    async def next(self) -> list[str]:
        """Wait for a report."""
        loop = asyncio.get_running_loop()
        report = await asyncio.wait_for(loop.sock_recv(self.socket, 4096), PATIENCE)
        return report.decode().split("\n")


@pytest.fixture(params=["file", "abstract"])
def systemd(request: pytest.FixtureRequest) -> Iterator[Systemd]:
    if request.param == "abstract" and sys.platform != "linux":
        pytest.skip("abstract sockets are of Linux")
    # The path of a socket must be short; pytest's temporary folders have long paths.
    with tempfile.TemporaryDirectory() as folder:
        found = Systemd(f"{folder}/notify" if request.param == "file" else f"\0care-{uuid.uuid4()}")
        yield found
        found.socket.close()


def supervisor(systemd: Systemd, **variables: str) -> Supervisor:
    return Supervisor({"NOTIFY_SOCKET": systemd.name, **variables}, PID)


def test_each_state_is_reported_as_systemd_expects(systemd: Systemd) -> None:
    told = supervisor(systemd)
    told.ready()
    told.reloading()
    told.ready()
    told.stopping()
    first, reloading, again, stopping = systemd.told()
    assert first == again == ["READY=1", "STATUS=serving"]
    assert reloading[0] == "RELOADING=1"
    assert reloading[1].startswith("MONOTONIC_USEC=")
    assert reloading[1].removeprefix("MONOTONIC_USEC=").isdigit()
    assert stopping == ["STOPPING=1", "STATUS=draining"]


async def test_signs_of_life_go_on_while_the_loop_runs(systemd: Systemd) -> None:
    alive = asyncio.create_task(supervisor(systemd, WATCHDOG_USEC="100000", WATCHDOG_PID=str(PID)).keep_alive())
    for _ in range(3):
        assert await systemd.next() == ["WATCHDOG=1"]
    alive.cancel()
    await asyncio.wait((alive,))


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "²"},
        {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(PID + 1)},
        {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": ""},
    ],
)
async def test_nobody_that_does_not_watch_gets_a_sign(systemd: Systemd, variables: Mapping[str, str]) -> None:
    await supervisor(systemd, **variables).keep_alive()
    assert systemd.told() == []


@pytest.mark.parametrize("address", ["", "@", "relative", "vsock:2:1234"])
async def test_without_a_usable_address_nothing_is_sent(address: str) -> None:
    told = Supervisor({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "100000"}, PID)
    with structlog.testing.capture_logs() as logged:
        told.ready()
        await told.keep_alive()
    assert logged == []


def test_a_supervisor_that_is_gone_is_logged_once(tmp_path: Path) -> None:
    told = Supervisor({"NOTIFY_SOCKET": str(tmp_path / "gone")}, PID)
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            told.ready()
    assert [(line["event"], line["what"]) for line in logged] == [("optimisation refused", "NOTIFY_SOCKET")]


def test_a_supervisor_that_does_not_read_stops_nothing(systemd: Systemd) -> None:
    told = supervisor(systemd)
    with structlog.testing.capture_logs() as logged:
        for _ in range(5000):
            told.ready()
    assert len(logged) <= 1
