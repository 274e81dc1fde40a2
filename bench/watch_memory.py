"""Resident memory of a server while ten thousand watches are opened and dropped, a thousand at once."""

from __future__ import annotations

import subprocess
import time

from bench import system as endpoints
from bench.memory import is_flat
from bench.outcome import Outcome, Setting, Table, number
from bench.processes import python, running
from bench.progress import tell
from bench.system import ALL_WATCHES_OF_ONE, system
from bench.usage import rss_mb

AT_ONCE, ROUNDS = 1040, 10
"""Open watches, and how often they are opened and dropped."""

GROWTH, OF_WATCH = "watches dropped: RSS growth", "RSS of a watch, kB"

_SETTLED = 0.5
"""Seconds for the server to note that watches were dropped."""


def measure_watch_memory(setting: Setting) -> Outcome:
    """RSS with and without open watches."""
    with system(setting.cores, [endpoints.GRPC], arguments=ALL_WATCHES_OF_ONE) as here:
        (pid,) = here.pids(endpoints.GRPC)["server"]
        before = rss_mb(pid)
        if before is None:
            return Outcome("watch-memory", "Memory of watches", "", problem="this platform tells no process's memory")
        opened, dropped = [], []
        with running(python("bench.watch_holder", here.address(endpoints.GRPC)), setting.cores.load) as process:
            for turn in range(ROUNDS):
                opened.append(_after(process, str(AT_ONCE), AT_ONCE, pid))
                dropped.append(_after(process, "drop", 0, pid))
                tell(f"round {turn + 1}/{ROUNDS}  open {opened[-1]:6.1f} MB, dropped {dropped[-1]:6.1f} MB")
    of_watch = (opened[0] - before) * 1000 / AT_ONCE
    half = ROUNDS // 2
    growth = max(opened[half:] + dropped[half:]) / max(opened[:half] + dropped[:half])
    rows = [
        (f"{turn * AT_ONCE}", number(opened[turn - 1], 1), number(dropped[turn - 1], 1)) for turn in (1, half, ROUNDS)
    ]
    return Outcome(
        "watch-memory",
        "Memory of watches",
        f"Resident set of the server, {before:.1f} MB before the first watch. {AT_ONCE} watches of one project are"
        f" opened over gRPC, each gets its first message, and all are dropped; {ROUNDS} times.",
        [Table(("watches so far", "open, MB", "dropped, MB"), rows)],
        [
            f"An open watch takes {of_watch:.1f} kB, with its share of a connection.",
            f"The most of the second half to the most of the first: {growth - 1:+.1%}"
            + (", flat." if is_flat(growth) else "."),
        ],
        {GROWTH: growth, OF_WATCH: of_watch},
    )


def _after(process: subprocess.Popen[bytes], line: str, wanted: int, pid: int) -> float:
    """Have the holder open or drop watches; return the server's MB.

    Raises:
        RuntimeError: not as many watches are open as are wanted, or the server has ended.
    """
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - piped
    process.stdin.write(f"{line}\n".encode())
    process.stdin.flush()
    answer = process.stdout.readline().strip()
    time.sleep(_SETTLED)
    found = rss_mb(pid)
    if answer != str(wanted).encode() or found is None:
        raise RuntimeError(f"{wanted} watches are wanted, open are {answer.decode() or 'none: the holder ended'}")
    return found
