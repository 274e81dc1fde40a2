"""List, get and count through the endpoints."""

from __future__ import annotations

from functools import partial

import grpc

from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2 import backup_sharing_pb2_grpc as rpc
from bench import system as endpoints
from bench.calls import LISTED_SHARINGS, PAGE
from bench.job import LISTED, TOKEN, Job
from bench.load import in_turn, load_generator
from bench.outcome import LOAD_HEADINGS, Outcome, Setting, Table, load_cells
from bench.system import Endpoint, System, system, there_are

CALLS = {"list": f"first page of {PAGE}", "next page": f"next page of {PAGE}", "get": "get", "count": "count"}
"""The reads, with their names in the tables."""

HISTORY = "history"
"""The first page of events, which is measured over gRPC only."""

_CALLERS = 16
_GETS = 100


def measure_reads(setting: Setting) -> Outcome:
    """Throughput of the reads."""
    wanted = there_are((endpoints.GRPC, endpoints.MULTIPLEXED, endpoints.ENVOY))
    with system(setting.cores, wanted) as here, load_generator(setting.cores) as load:
        token = page_token(here)
        variants = {
            f"{CALLS[call]}, {endpoint.name}": partial(
                read_job, here, endpoint, call, token, callers=_CALLERS, seconds=1.0
            )
            for call in CALLS
            for endpoint in wanted
            if endpoint is not endpoints.ENVOY or call in ("list", "get")
        }
        found = in_turn(load, variants, max(setting.rounds - 2, 1))
    return Outcome(
        "reads",
        "List, get and count",
        f"Of a project with {LISTED_SHARINGS} sharings in a database of {here.database.rows:,}, {_CALLERS} callers. The"
        f" next page is asked for by its token over gRPC, with `offset={PAGE}` over REST. Every answer is checked for"
        " its items.",
        [Table(("call, endpoint", *LOAD_HEADINGS), [(name, *load_cells(rounds)) for name, rounds in found.items()])],
        values={f"{name}: calls/s": rounds.per_second for name, rounds in found.items()},
    )


def read_job(here: System, endpoint: Endpoint, call: str, token: str, *, callers: int, seconds: float) -> Job:
    """A measurement of one of the `CALLS`, or of the `HISTORY`."""
    values: list[str] = []
    if call == "get":
        values = here.database.listed_ids(_GETS)
    elif call == "next page" and endpoint.protocol == "grpc":
        values = [token]
    elif call == HISTORY:
        values = [LISTED]
    return here.job(endpoint, call, callers=callers, seconds=seconds, values=values)


def page_token(here: System) -> str:
    """The token behind the first page."""
    with grpc.insecure_channel(here.address(endpoints.GRPC)) as channel:
        request = pb.ListSharingsRequest(project_id=LISTED, limit=PAGE)
        page = rpc.BackupSharingServiceStub(channel).ListSharings(request, metadata=(("x-auth-token", TOKEN),))
    return page.next_page_token
