"""The cost of each protection of a share: the same load with the default settings, and with one of them changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

from bench import system as endpoints
from bench.load import in_turn, load_generator, ratio
from bench.outcome import LOAD_HEADINGS, Outcome, Setting, Table, load_cells, number
from bench.system import system

CROWDED_TO_FEW: Final = "shares/s: backups with 1 000 active sharings / backups with few"

_CALLERS: Final = 64
_CROWDED_BACKUPS: Final = 20
_CROWD: Final = 1_000
_DEFAULT: Final = "default settings"

_SETTINGS: Final[Mapping[str, Sequence[str]]] = {
    _DEFAULT: (),
    "no quota (--max-active-sharings 0)": ("--max-active-sharings", "0"),
    "no lines of calls, no audit (--log-level warning)": ("--log-level", "warning"),
    "no wait for more changes (--commit-delay 0)": ("--commit-delay", "0"),
}
"""Variants that are a server of their own: its arguments."""

_CALLS: Final[Mapping[str, Mapping[str, Any]]] = {"an idempotency key with each share": {"keyed": True}}
"""Variants that are other calls of the server with the default settings."""

_HIGH_QUOTA: Final = ("--max-active-sharings", "1000000")


def measure_protections(setting: Setting) -> Outcome:
    """Shares over gRPC, by all variants in turn."""
    with ExitStack() as stack:
        one = endpoints.GRPC
        servers = {
            name: stack.enter_context(system(setting.cores, [one], arguments=arguments))
            for name, arguments in _SETTINGS.items()
        }
        counted = stack.enter_context(system(setting.cores, [one], arguments=_HIGH_QUOTA))
        load = stack.enter_context(load_generator(setting.cores))
        share: Mapping[str, Any] = {"callers": _CALLERS, "seconds": 1.5}
        variants = {name: partial(here.job, one, **share) for name, here in servers.items()}
        variants |= {name: partial(servers[_DEFAULT].job, one, **share, **other) for name, other in _CALLS.items()}
        load.run(counted.job(one, callers=_CALLERS, calls=_CROWDED_BACKUPS * _CROWD, backups=_CROWDED_BACKUPS))
        crowded = {
            f"backups with few active sharings, {_HIGH_QUOTA[1]} allowed": partial(counted.job, one, **share),
            f"backups with {number(_CROWD)} or more": partial(counted.job, one, backups=_CROWDED_BACKUPS, **share),
        }
        found = in_turn(load, {**variants, **crowded}, setting.rounds)
        verified = [here.verified() for here in (*servers.values(), counted)]
    few, many = (found[name] for name in crowded)
    ratios = [(name, number(ratio(rounds, found[_DEFAULT]), 2)) for name, rounds in found.items() if name in variants]
    return Outcome(
        "protections",
        "What each protection costs",
        f"Shares by {_CALLERS} callers over gRPC. All other sections have the default settings: quota, log lines with"
        " audit, limits and one commit for several changes. The last two rows compare backups on a server with a high"
        " quota.",
        [
            Table(("variant", *LOAD_HEADINGS), [(name, *load_cells(rounds)) for name, rounds in found.items()]),
            Table(("calls/s to those with the default settings", "ratio"), ratios),
        ],
        [f"{CROWDED_TO_FEW}: {ratio(many, few):.2f}", *verified],
        {CROWDED_TO_FEW: ratio(many, few)},
    )
