"""What a client is to ``make interop``: a row of its table, with what it needs, how it is built, and how it is run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[3]
BUILD = ROOT / "build" / "interop"
"""Where clients are built; ignored by git."""
STUBS = ROOT / "build" / "stubs"
"""Where ``make stubs`` puts what it generates, a folder for each language."""

RENAMED_FIELD = "proto-field"
"""What is spoilt where stubs are generated from protos with another name for a field that all examples use."""


class ClientFailed(Exception):
    """A client did not build, or saw something else than it should; the message has what it said."""


@dataclass(frozen=True, slots=True)
class Place:
    """A running pair, and who can call it."""

    rest: str
    """``http://HOST:PORT`` of the gateway, or of what tampers with its answers."""
    grpc: str
    """HOST:PORT of the server."""
    keystone: str
    """``http://HOST:PORT/v3`` of a Keystone that knows the projects below, and the gateway in its catalogue."""
    user: str
    """Of Keystone: a member of the giver and of the recipient, in the domain ``Default``."""
    password: str
    service_token: str
    project: str
    token: str
    recipient: str
    recipient_token: str
    other: str

    def environment(self) -> Mapping[str, str]:
        """As the examples want it."""
        return {
            "BACKUP_SHARING_GRPC": self.grpc,
            "BACKUP_SHARING_REST": self.rest,
            "BACKUP_SHARING_SERVICE_TOKEN": self.service_token,
            "BACKUP_SHARING_PROJECT": self.project,
            "BACKUP_SHARING_TOKEN": self.token,
            "BACKUP_SHARING_RECIPIENT": self.recipient,
            "BACKUP_SHARING_RECIPIENT_TOKEN": self.recipient_token,
            "BACKUP_SHARING_OTHER": self.other,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """A client."""

    name: str
    """Language or program, as the table has it."""
    door: str
    """``gRPC`` or ``REST``."""
    what: str
    """What is run, in a few words."""
    missing: Callable[[], str]
    """Why it cannot run on this machine; empty if it can."""
    build: Callable[[], None]
    """Make it ready to run; raises `ClientFailed`."""
    run: Callable[[Place], None]
    """Run it; raises `ClientFailed`."""
    notices: frozenset[str] = frozenset()
    """What must make it fail when spoilt: of `tamper.TAMPERINGS` and `RENAMED_FIELD`; the others must not."""
    version: Callable[[], str] = field(default=lambda: "")
    """Of the client or its language, for the table."""
    out_of_reach: str = ""
    """Why nothing that can be spoilt reaches it, where it notices nothing."""


def command(
    *words: str, cwd: Path = ROOT, environment: Mapping[str, str] | None = None, seconds: float = 1800.0
) -> str:
    """Run a command; answers its standard output.

    Raises:
        ClientFailed: it failed, or took longer than ``seconds``.
    """
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ClientFailed(f"{' '.join(words)}: took longer than {seconds:.0f} s") from None
    if done.returncode:
        raise ClientFailed(f"{' '.join(words)}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def needs(*programs: str) -> str:
    """Why what needs these programs cannot run: those that are not installed."""
    absent = [program for program in programs if shutil.which(program) is None]
    return f"{', '.join(absent)} not installed" if absent else ""


def check_scenario(printed: str) -> None:
    """Check what an example printed against examples/README.md.

    Raises:
        ClientFailed: a line is not as expected.
    """
    lines = printed.strip().splitlines()
    expected: Sequence[str] = (
        "shared 2",
        "conflict ALREADY_SHARED BackupSharing.0002",
        "listed 3 in 2 pages",
        "cancelled 1",
        "gone SHARING_NOT_FOUND",
    )
    if not lines or not lines[0].startswith("put ") or tuple(lines[1:]) != expected:
        raise ClientFailed(f"printed {printed!r}, expected put ID and then {expected}")
