"""On what, and with what, a run was made."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from bench import envoy, postgres_server
from bench.outcome import Setting
from bench.processes import BUILD, ROOT

_SYNCS = 200


def conditions(setting: Setting) -> Sequence[tuple[str, str]]:
    """Names and what is to be said of each."""
    packages = ("grpcio", "protobuf", "aiohttp", "uvloop", "orjson", "psycopg")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return [
        ("date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("commit", _commit()),
        ("machine", f"{_cpu_model()}, {os.cpu_count()} cores, {_memory()}, {platform.system()} {platform.release()}"),
        ("cores", str(setting.cores)),
        ("versions", f"Python {platform.python_version()}, {versions}, SQLite {sqlite3.sqlite_version}"),
        ("Envoy", envoy.version()),
        ("PostgreSQL", postgres_server.version()),
        ("disk", f"append of 4 KiB and fsync: {_fsync_us():.0f} µs (median of {_SYNCS})"),
        ("rounds", f"{setting.rounds} in turn where a section says nothing else; medians, ratios within each round"),
    ]


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ("git", "-C", str(ROOT), *arguments)
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603

    try:
        changed = git("status", "--porcelain", "--", "server", "gateway", "protos")
        return git("rev-parse", "--short=12", "HEAD") + (", with changes not committed" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
    except (ValueError, OSError):
        return "memory unknown"


def _fsync_us() -> float:
    BUILD.mkdir(parents=True, exist_ok=True)
    times = []
    with tempfile.TemporaryFile(dir=BUILD, buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6
