"""Ctrl-C always ends a command, at whatever place of the code it comes."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from backupsharing.commands import events
from backupsharing.commands.interrupting import echo, wait_for_reader
from backupsharing.commands.program import main
from tests.client.streams import Streams, event
from tests.support.programs import PATIENCE, ROOT, environment, obeying_ctrl_c
from tests.support.stub_server import StubServer

CALLER = ("--project", "c" * 32, "--token", "t")
AT_THREADS = """
import signal, threading
from backupsharing.commands.program import main

start = threading.Thread.start
def interrupted(thread):
    if threading.current_thread() is threading.main_thread():
        signal.raise_signal(signal.SIGINT)
    start(thread)

threading.Thread.start = interrupted
main()
"""
"""Program that gets SIGINT when gRPC starts a thread: here KeyboardInterrupt would leave a call open forever."""


@pytest.mark.parametrize(("command", "code", "notes"), [("watch", 130, ""), ("history", 1, "\nAborted!\n")])
def test_ctrl_c_inside_grpc_ends_a_command(stub: StubServer, command: str, code: int, notes: str) -> None:
    Streams(stub)
    arguments = [sys.executable, "-c", AT_THREADS, command, *CALLER, "--server", stub.address]
    unset = {name: value for name, value in environment().items() if not name.startswith("OS_")}
    with obeying_ctrl_c():
        done = subprocess.run(
            arguments, cwd=ROOT, env=unset, check=False, capture_output=True, text=True, timeout=PATIENCE
        )
    assert (done.returncode, done.stdout, done.stderr) == (code, "", notes)


@pytest.mark.parametrize("at", ["_line", "click.echo"])
def test_ctrl_c_while_a_watch_writes_loses_no_event(stub: StubServer, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """The cursor of the note is that of the last event that was printed."""
    Streams(stub).then(*(event(place, sharing_id=f"sharing-{place}") for place in (1, 2, 3)))
    original = events._line if at == "_line" else click.echo

    def interrupted(what: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 -- passed on
        if "sharing-2" in str(what):
            signal.raise_signal(signal.SIGINT)
        return original(what, *arguments, **options)

    monkeypatch.setattr(f"backupsharing.commands.events.{at}", interrupted)
    unset = dict.fromkeys(name for name in os.environ if name.startswith(("OS_", "BACKUP_SHARING_")))
    with obeying_ctrl_c():
        result = CliRunner().invoke(main, ["watch", *CALLER, "--server", stub.address], env=unset)
    printed = result.stdout.count("\n")
    assert (result.exit_code, result.stderr) == (130, f"To continue here: --cursor s:{printed}\n")


@pytest.mark.parametrize("write", [wait_for_reader, lambda: echo("line")], ids=["wait", "echo"])
def test_ctrl_c_ends_a_command_whose_output_is_blocked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, write: Callable[[], None]
) -> None:
    async def command() -> None:
        write()
        reached.append("end")

    def interrupted(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGINT)

    reached: list[str] = []
    monkeypatch.setattr(select, "select", interrupted)
    monkeypatch.setattr(click, "echo", interrupted)
    with (tmp_path / "output").open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        with obeying_ctrl_c(), pytest.raises(KeyboardInterrupt):
            asyncio.run(command())
    assert reached == []
