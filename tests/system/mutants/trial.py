"""Run tests in a process of their own, in which one module is replaced by its mutant."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from io import TextIOWrapper
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from tests.system.mutants.mutations import Mutant

ROOT = Path(__file__).parents[3]
ROOTS = [ROOT / name for name in ("", "protos", "server", "gateway")]
_PRELOADED = [
    "aiohttp",
    "anyio",
    "google.protobuf.descriptor_pool",
    "grpc.aio",
    "hypothesis",
    "psutil",
    "psycopg_pool",
    "pytest",
    "sqlite3",
    "sqlite_utils",
    "structlog",
]
"""Slow imports, done once for all trials. Nothing of ours: a trial must import the mutant."""
_NOT_IMPORTED = 77
"""Exit status of a trial whose tests pass and do not import the mutated module."""


class Outcome(Enum):
    """Verdict of the tests about a mutant."""

    NOTICED = "noticed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"
    NOT_IMPORTED = "not imported"


class Trial:
    """Tests that run with one mutant, or with the unchanged code, in a process group of their own."""

    def __init__(self, mutant: Mutant | None, tests: Sequence[str], directory: Path, silence: float) -> None:
        """Start the tests, which run in this order until one fails.

        They write their files into ``directory``/tmp and their output into ``directory``/log. They are stopped if no
        test ends for ``silence`` seconds.
        """
        self.mutant = mutant
        self.log = directory / "log"
        self._silence = silence
        self._heard = (0, time.monotonic())
        self.log.write_bytes(b"")
        self._process: ForkServerProcess = _context().Process(
            target=_run, args=(mutant, tuple(tests), str(directory / "tmp"), str(self.log))
        )
        self._process.start()
        assert self._process.pid is not None
        self._group = self._process.pid

    @property
    def sentinel(self) -> int:
        """Handle for `multiprocessing.connection.wait`; it is ready once the trial has ended."""
        return self._process.sentinel

    def outcome(self) -> Outcome | None:
        """Return the outcome, or None while the tests run; stop the tests after too long a silence."""
        code = self._process.exitcode
        if code is None and not self._is_silent():
            return None
        self.stop()
        if code is None:
            return Outcome.TIMED_OUT
        return {0: Outcome.SURVIVED, _NOT_IMPORTED: Outcome.NOT_IMPORTED}.get(code, Outcome.NOTICED)

    def _is_silent(self) -> bool:
        """Return whether the log, which grows with each test, has not grown for too long."""
        size, since = self.log.stat().st_size, time.monotonic()
        if size != self._heard[0]:
            self._heard = size, since
        return since - self._heard[1] >= self._silence

    def stop(self) -> None:
        """Kill the tests and every process that they started."""
        with suppress(ProcessLookupError):
            os.killpg(self._group, signal.SIGKILL)
        self._process.kill()  # in case that it has no group yet
        self._process.join()


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)  # only the first call has an effect
    return context


def _run(mutant: Mutant | None, tests: Sequence[str], temporary: str, log: str) -> None:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(write_through=True)  # so that the log grows with each test
    sys.path[:0] = [str(root) for root in ROOTS]
    if mutant is not None:
        sys.meta_path.insert(0, _InPlaceOfTheFile(mutant))
    os.chdir(ROOT)
    status = 0
    for some in tests:  # one after the other, to collect the later ones only if the first ones pass
        status = status or int(pytest.main([*_OPTIONS, f"--basetemp={temporary}", some]))
    if status == 0 and mutant is not None and not _is_mutated(sys.modules.get(mutant.module)):
        status = _NOT_IMPORTED
    sys.stdout.flush()
    os._exit(status)  # threads and exit handlers of tests do not matter


_OPTIONS = (
    *("-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-profile=fast"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # a plugin is preloaded: its asserts are not rewritten
    *("-k", "not postgres", "-m", "not resilience and not outside"),
)


class _InPlaceOfTheFile(MetaPathFinder):
    """Finds the mutated module before any finder that knows its file."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of the mutant, and None for every other module."""
        if name != self._mutant.module:
            return None
        file = str(ROOT / "server" / f"{name.replace('.', '/')}.py")
        return spec_from_file_location(name, file, loader=_Loader(name, file, self._mutant.changed))


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, changed: bytes) -> None:
        super().__init__(name, path)
        self._changed = changed

    def get_code(self, fullname: str) -> CodeType:
        """Compile the mutant; read and write no compiled file."""
        code = compile(self._changed, self.path, "exec", dont_inherit=True)
        assert isinstance(code, CodeType)
        return code


def _is_mutated(module: ModuleType | None) -> bool:
    return module is not None and module.__spec__ is not None and isinstance(module.__spec__.loader, _Loader)
