"""The time that a caller waits while an endpoint has half of the load that it could take."""

from __future__ import annotations

from functools import partial

from bench import system as endpoints
from bench.endpoints import CALLERS
from bench.load import Rounds, in_turn, load_generator
from bench.outcome import LOAD_HEADINGS, Outcome, Setting, Table, load_cells, number
from bench.progress import tell
from bench.system import system, there_are

_RUNS = 5


def measure_half_load(setting: Setting) -> Outcome:
    """Latency of each endpoint at half of its own most."""
    wanted = there_are((endpoints.GRPC, endpoints.MULTIPLEXED, endpoints.ENVOY))
    with system(setting.cores, wanted) as here, load_generator(setting.cores) as load:
        most = in_turn(
            load, {endpoint.name: partial(here.job, endpoint, callers=CALLERS, seconds=1.5) for endpoint in wanted}, 3
        )
        rates = {endpoint.name: most[endpoint.name].per_second / 2 for endpoint in wanted}
        tell("at half of that:")
        found = in_turn(
            load,
            {
                endpoint.name: partial(here.job, endpoint, callers=CALLERS, seconds=3.0, rate=rates[endpoint.name])
                for endpoint in wanted
            },
            _RUNS,
        )
        verified = here.verified()
    rows = [(name, number(most[name].per_second), *_cells(rounds)) for name, rounds in found.items()]
    return Outcome(
        "half-load",
        "A share at half load",
        f"Calls begin at random times (Poisson) at half of the rate that the endpoint reached with {CALLERS} callers"
        " just before, and are timed from when they should have begun, so that a stall counts for all that it holds"
        f" up. Medians of {_RUNS} runs.",
        [Table(("endpoint", "at most", *LOAD_HEADINGS[:-1]), rows)],
        ["The generator looks at the clock all the time here, so its own use of its core says nothing.", verified],
        {
            f"half load, {name}: {which} ms": value
            for name, rounds in found.items()
            for which, value in (("p50", rounds.p50_ms), ("p99", rounds.p99_ms))
        },
    )


def _cells(rounds: Rounds) -> tuple[str, ...]:
    return tuple(load_cells(rounds))[:-1]
