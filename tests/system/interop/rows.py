"""Client of ``make interop``: a table row with its prerequisites, build and run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[3]
BUILD = ROOT / "build" / "interop"
"""Build folder of the clients; ignored by git."""
STUBS = ROOT / "build" / "stubs"
"""Output of ``make stubs``, one folder per language."""

RENAMED_FIELD = "proto-field"
"""Corruption that renames a proto field which all examples use, before stubs are generated."""


class ClientFailed(Exception):
    """The client did not build or reported an unexpected result; the message contains its output."""


@dataclass(frozen=True, slots=True)
class Place:
    """Running pair with users and tokens."""

    rest: str
    """``http://HOST:PORT`` of the gateway, or of the proxy that corrupts its responses."""
    grpc: str
    """HOST:PORT of the server."""
    keystone: str
    """``http://HOST:PORT/v3`` of a Keystone with the projects below, and with the gateway in its catalogue."""
    user: str
    """Keystone user in the domain ``Default``, a member of giver and recipient."""
    password: str
    service_token: str
    project: str
    token: str
    recipient: str
    recipient_token: str
    other: str

    def environment(self) -> Mapping[str, str]:
        """Return the environment variables that the examples read."""
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
    """Client."""

    name: str
    """Language or program, as shown in the table."""
    api: str
    """``gRPC`` or ``REST``."""
    what: str
    """Short description of the run."""
    missing: Callable[[], str]
    """Function that returns why the client cannot run on this machine; empty if it can."""
    build: Callable[[], None]
    """Function that builds the client; raises `ClientFailed`."""
    run: Callable[[Place], None]
    """Function that runs the client; raises `ClientFailed`."""
    notices: frozenset[str] = frozenset()
    """Corruptions that must make the client fail, of `tamper.TAMPERINGS` and `RENAMED_FIELD`; the others must not."""
    version: Callable[[], str] = field(default=lambda: "")
    """Function that returns the version of the client or its language, for the table."""
    out_of_reach: str = ""
    """Reason why no corruption reaches the client, if ``notices`` is empty."""
    rarely: bool = False
    """Whether the client runs only if it is chosen or with ``--all``, because its build takes long."""


def command(
    *words: str, cwd: Path = ROOT, environment: Mapping[str, str] | None = None, seconds: float = 1800.0
) -> str:
    """Run a command; return its stdout.

    Raises:
        ClientFailed: the command failed, or took longer than ``seconds``.
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
    """Return which of these programs are not installed; empty if all are."""
    absent = [program for program in programs if shutil.which(program) is None]
    return f"{', '.join(absent)} not installed" if absent else ""


def check_scenario(printed: str) -> None:
    """Check an example's output against examples/README.md.

    Raises:
        ClientFailed: a line differs.
    """
    lines = printed.strip().splitlines()
    expected: Sequence[str] = (
        "shared 2",
        "conflict ALREADY_SHARED BackupSharing.0002",
        "listed 3 in 2 pages",
        "checked yes",
        "cancelled 1",
        "gone SHARING_NOT_FOUND",
        "watched cancelled",
    )
    if not lines or not lines[0].startswith("put ") or tuple(lines[1:]) != expected:
        raise ClientFailed(f"printed {printed!r}, expected put ID and then {expected}")
