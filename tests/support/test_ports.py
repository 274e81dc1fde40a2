"""Ports of test servers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.ports import RANGE, free_port

ROOT = Path(__file__).parents[2]


def test_ports_are_different_and_below_those_of_clients() -> None:
    ports = [free_port() for _ in range(20)]
    assert len(set(ports)) == 20
    assert set(ports) <= set(RANGE)


def test_a_process_that_has_a_port_ends_without_a_warning() -> None:
    command = (sys.executable, "-W", "error", "-c", "from tests.support.ports import free_port; free_port()")
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stderr == ""
