"""What the project set itself as targets, and what a run reached of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import access, engines, metrics, protections, tracing, watch_memory, watching
from bench import system as endpoints
from bench.memory import FULL_CALLS, is_flat
from bench.outcome import Table, number
from bench.reads import HISTORY
from bench.rows import growth


@dataclass(frozen=True, slots=True)
class Target:
    """One row of the table of targets."""

    name: str
    floor: float
    goal: float
    value: str
    """Name of the figure."""
    unit: str = ""
    digits: int = 2
    flat: str = ""
    """Name of the growth that must be flat as well."""
    needs: float = 0
    """Calls after which a figure of memory counts."""

    @property
    def is_less_better(self) -> bool:
        """Whether the goal is below the floor."""
        return self.goal < self.floor

    def mark(self, values: Mapping[str, float]) -> str:
        """``goal``, ``floor``, ``missed``, or that it was not measured."""
        if self.value not in values or values.get("memory calls", 0) < self.needs:
            return "not measured"
        if self.flat and not is_flat(values[self.flat]):
            return "**missed**"
        sign = -1 if self.is_less_better else 1
        reached = values[self.value] * sign
        return "goal" if reached >= self.goal * sign else "floor" if reached >= self.floor * sign else "**missed**"


def _pair(a: endpoints.Endpoint, b: endpoints.Endpoint) -> str:
    return f"{a.name} / {b.name}"


def _memory(process: str) -> Target:
    name = f"RSS of the {process} after a million calls, MB, and flat"
    return Target(name, 200, 120, f"{process} RSS MB", digits=0, flat=f"{process} RSS growth", needs=FULL_CALLS)


def _p99(name: str, endpoint: endpoints.Endpoint, floor: float, goal: float) -> Target:
    return Target(f"p99 at half load, {name}, ms", floor, goal, f"half load, {endpoint.name}: p99 ms", digits=1)


TARGETS = (
    Target("gRPC `ShareBackup`, durable, to the bare stub", 0.75, 0.85, _pair(endpoints.GRPC, endpoints.STUB)),
    Target(
        "REST, durable, multiplexed, to Envoy in front of the same server",
        *(1.3, 2.5, _pair(endpoints.MULTIPLEXED, endpoints.ENVOY)),
    ),
    Target("REST, a call each, to Envoy", 0.9, 1.0, _pair(endpoints.UNARY, endpoints.ENVOY)),
    Target("REST, multiplexed, to gRPC direct", 1.0, 1.5, _pair(endpoints.MULTIPLEXED, endpoints.GRPC)),
    Target("group commit to a transaction each, 16 callers", 2.5, 4, "group commit"),
    Target("conversion to `json_format`", 4, 6, "conversion"),
    _p99("gRPC", endpoints.GRPC, 10, 6),
    _p99("REST multiplexed", endpoints.MULTIPLEXED, 25, 10),
    Target("one caller alone, p50: multiplexed to a call each", 1.0, 0.9, "p50 multiplexed / unary"),
    Target("shares/s with 10⁶ rows to 10⁴", 0.3, 0.6, growth("SQLite", "share", 10**6)),
    Target("first page of 100, 10⁷ rows to 10⁴", 0.7, 0.9, growth("SQLite", "list", 10**7)),
    Target("shares/s, one server with PostgreSQL to one with SQLite", 0.4, 0.6, engines.POSTGRES_TO_SQLITE),
    Target("shares: servers that a core of PostgreSQL feeds", 1.5, 3, engines.FED),
    Target("first page of history, 10⁷ events to 10⁴", 0.7, 0.9, growth("SQLite", HISTORY, 10**7)),
    Target("PostgreSQL: shares/s with 10⁶ rows to 10⁴", 0.3, 0.6, growth("PostgreSQL", "share", 10**6)),
    Target("PostgreSQL: first page of 100, 10⁶ rows to 10⁴", 0.7, 0.9, growth("PostgreSQL", "list", 10**6)),
    Target("PostgreSQL: first page of history, 10⁶ events to 10⁴", 0.7, 0.9, growth("PostgreSQL", HISTORY, 10**6)),
    Target("REST shares/s per core to the 65 of Glance (quoted)", 30, 60, "times Glance", digits=0),
    _memory("server"),
    _memory("gateway"),
    Target("shares/s traced at 1 %, gRPC, to those without traces", 0.95, 0.97, tracing.traced_to_untraced("gRPC")),
    Target("shares/s traced at 1 %, REST, to those without traces", 0.95, 0.97, tracing.traced_to_untraced("REST")),
    Target("shares/s, backups with 1 000 active sharings to few", 0.7, 0.95, protections.CROWDED_TO_FEW),
    Target("`CheckAccess` to `GetSharing`", 1.0, 1.3, access.CHECK_TO_GET),
    Target("checks/s in batches of 100 to single ones", 10, 20, access.BATCH_TO_CHECK, digits=1),
    Target("shares/s with metrics to without", 0.97, 0.99, metrics.WITH_TO_WITHOUT),
    Target("scrape with 10⁵ projects seen, ms", 20, 10, metrics.SCRAPE, digits=1),
    Target("p99 of the lag of 1 020 watchers at 100 shares/s, ms", 250, 100, watching.LAG, digits=1),
    Target("p99 from commit to a watcher, same server, ms", 20, 10, watching.SAME_PROCESS, digits=1),
    Target("p99 from commit to a watcher, other server, ms", 250, 100, watching.OTHER_PROCESS, digits=1),
    Target("server RSS: second 5 000 watches opened and dropped, to the first", 1.03, 1.01, watch_memory.GROWTH),
)


def table(values: Mapping[str, float]) -> Table:
    """Floor, goal, what was reached, and how that is to be called."""
    rows: list[Sequence[str]] = []
    for target in TARGETS:
        mark = target.mark(values)
        reached = "-" if mark == "not measured" else number(values[target.value], target.digits)
        less = "≤ " if target.is_less_better else ""
        rows.append((target.name, f"{less}{target.floor:g}", f"{less}{target.goal:g}", reached, mark))
    return Table(("target", "floor", "goal", "reached", ""), rows)
