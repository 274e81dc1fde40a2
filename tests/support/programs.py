"""Our programs as processes: started by command line, observed by their output, ended by process id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
SOURCES = (".", "protos", "server", "gateway")
"""Folders of this checkout that contain packages."""

PACKAGES = {"server": "backup_sharing", "gateway": "backup_sharing.gateway_program"}
"""Package that ``python -m`` runs, for each of our programs."""
PATIENCE = 60.0
"""Seconds to wait for something that must happen; long enough for a busy machine."""

AT_ONCE = ("--stop-on-stdin-close", "--drain-notice", "0")
"""Shutdown flags of all test programs; later flags on the command line override them."""


def environment(root: Path = ROOT) -> dict[str, str]:
    """Return our environment without the programs' own settings, and with a checkout before installed packages."""
    prefixes = ("BACKUP_SHARING_", "RESTMAP_GATEWAY_")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return {**ours, "PYTHONPATH": os.pathsep.join(str(root / folder) for folder in SOURCES)}


@contextmanager
def obeying_ctrl_c() -> Iterator[None]:
    """Let SIGINT raise KeyboardInterrupt, in this process and in programs that are started in the context.

    A shell makes its background jobs and their children ignore SIGINT.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Program:
    """Running ``python -m MODULE``."""

    def __init__(self, module: str, *arguments: str, variables: Mapping[str, str] | None = None) -> None:
        self.module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", PACKAGES.get(module, module), *arguments],
            cwd=ROOT,
            env={**environment(), **(variables or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._printed = ""
        self._is_silent = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def printed(self) -> str:
        """Output so far, stdout and stderr merged."""
        with self._changed:
            return self._printed

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def wait_for(self, text: str) -> str:
        """Wait until the text is printed; return all output so far."""
        with self._changed:
            self._changed.wait_for(lambda: text in self._printed or self._is_silent, PATIENCE)
            assert text in self._printed, f"{self.module} did not print {text!r}:\n{self._printed}"
            return self._printed

    def children(self) -> dict[str, int]:
        """Return the process ids of started child programs by module."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        found = {}
        for pid in map(int, listed.split()):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
            package = words[words.index("-m") + 1]
            found[next(name for name, its in PACKAGES.items() if its == package)] = pid
        return found

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for the process to end; return its exit code."""
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def close_stdin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def end(self) -> None:
        """Terminate the process if it still runs."""
        if self.is_running:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self._printed += line.decode("utf-8", "replace")
                self._changed.notify_all()
        with self._changed:
            self._is_silent = True
            self._changed.notify_all()


class Programs:
    """Starts programs, and ends them in reverse order at the end of a ``with`` block."""

    def __init__(self, **variables: str) -> None:
        """Set environment variables for each program."""
        self._variables = variables
        self._running: list[Program] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._running:
            self._running.pop().end()

    def start(self, module: str, *arguments: str) -> Program:
        program = Program(module, *arguments, variables=self._variables)
        self._running.append(program)
        return program

    def server(self, listen: str, folder: Path, *arguments: str, database: str = "") -> Program:
        """Start a server with ``tokens.json`` of a folder, on ``sharings.db`` of that folder or on another database.

        Returns once the server listens. It stops without a drain notice unless the arguments set one.
        """
        files = ("--database", database or str(folder / "sharings.db"), "--tokens", str(folder / "tokens.json"))
        program = self.start("server", "--grpc-listen", listen, *files, *AT_ONCE, *arguments)
        program.wait_for('serving","level":')  # or "not serving": it listens, but its database is not ready
        return program

    def gateway(self, listen: str, upstream: str, *arguments: str) -> Program:
        """Start a gateway; return once it serves. It stops without a drain notice, like a server."""
        addresses = ("--listen", listen, "--upstream", upstream)
        program = self.start("gateway", *addresses, *AT_ONCE, *arguments)
        program.wait_for('"event":"serving"')
        return program
