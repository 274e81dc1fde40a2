"""A server with its gateway, of this checkout or of another one, and what an attack is to find there."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BUILD, ROOT, Cores, free_address, python, running
from bench.siege.cast import Target, write_tokens
from bench.siege.catalogue import Place
from bench.usage import rss_mb
from tests.support.programs import PACKAGES

_LIMITED = 'ulimit -n "$0" && exec "$@"'


@dataclass(frozen=True, slots=True)
class Pair:
    """Both run; what they write to standard error is in files."""

    target: Target
    pids: Mapping[str, int]
    """``server`` and ``gateway``."""
    logs: Mapping[str, Path]

    def forget_peaks(self) -> None:
        """Let `peak_mb` begin anew."""
        for pid in self.pids.values():
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")

    def rss_mb(self, name: str) -> float:
        """Resident memory now; 0 of a program that has ended."""
        return rss_mb(self.pids[name]) or 0.0

    def peak_mb(self, name: str) -> float:
        """The most resident memory since `forget_peaks`, in MB; infinite if the program has ended."""
        try:
            lines = Path(f"/proc/{self.pids[name]}/status").read_text(encoding="ascii").splitlines()
        except OSError:
            return float("inf")
        found = [int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:")]
        return found[0] if found else float("inf")

    def log_bytes(self) -> int:
        """Written so far by both."""
        return sum(path.stat().st_size for path in self.logs.values())

    def logged(self, text: str) -> int:
        """How often a text stands in what was written so far."""
        return sum(path.read_bytes().count(text.encode()) for path in self.logs.values())

    def failures(self) -> str:
        """Return the last lines of both logs about failures that are not the caller's."""
        marks = ('"level":"warning"', '"level":"error"', '"status":5', '"code":"UNAVAILABLE"', '"code":"CANCELLED"')
        lines = [line for path in self.logs.values() for line in path.read_text("utf-8", "replace").splitlines()]
        return "\n".join([line for line in lines if any(mark in line for mark in marks)][-50:])


@contextmanager
def pair(place: Place, cores: Cores, database: str = "", root: Path = ROOT) -> Iterator[Pair]:
    """Start both, and stop them.

    ``database``: url of an empty database; without one it is a file.
    ``root``: the checkout whose programs these are, with its own environment if it is another one.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="siege-") as name, ExitStack() as stack:
        folder = Path(name)
        write_tokens(folder / "tokens.json")
        target = Target(f"unix:{folder}/server" if place.socket else free_address(), free_address())
        logs = {program: folder / f"{program}.log" for program in ("server", "gateway")}
        arguments = [
            *("--grpc-listen", target.grpc, "--database", database or str(folder / "sharings.db")),
            *("--tokens", str(folder / "tokens.json"), "--max-active-sharings", "1000000"),
        ]
        if place.keystone:
            keystone = free_address()
            stack.enter_context(running(python("bench.siege.keystone", keystone), cores.load, keystone))
            arguments += ["--keystone-url", f"http://{keystone}/v3"]
        commands = {
            "server": (target.grpc, _command(root, place, "server", *arguments)),
            "gateway": (
                target.rest,
                _command(root, place, "gateway", "--listen", target.rest, "--upstream", target.grpc),
            ),
        }
        pids = {
            program: stack.enter_context(running(command, cores.tested, listen, root=root, log=logs[program])).pid
            for program, (listen, command) in commands.items()
        }
        yield Pair(target, pids, logs)


def _command(root: Path, place: Place, module: str, *arguments: str) -> Sequence[str]:
    interpreter = sys.executable if root == ROOT else str(root / ".venv" / "bin" / "python")
    package = module if (root / module / "__main__.py").exists() else PACKAGES[module]  # the first: before they moved
    command = (interpreter, "-m", package, *arguments, "--stop-on-stdin-close")
    return ("sh", "-c", _LIMITED, str(place.descriptors), *command) if place.descriptors else command
