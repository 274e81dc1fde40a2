"""Access checks: to a read of one sharing, and in batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import grpc

from backupsharing.v2 import backup_sharing_pb2 as pb
from backupsharing.v2 import backup_sharing_pb2_grpc as rpc
from bench import system as endpoints
from bench.calls import BATCH
from bench.job import LISTED, TOKEN
from bench.load import in_turn, load_generator, ratio
from bench.outcome import LOAD_HEADINGS, Outcome, Setting, Table, load_cells
from bench.system import System, system

CHECK_TO_GET = "CheckAccess / GetSharing"
BATCH_TO_CHECK = "checks/s: in batches / single"

_CALLERS = {"get": 16, "check": 16, "batch": 4}
"""Callers by call: of batches as many as fit into what a connection sends at once."""
_ASKED = 100


def measure_access(setting: Setting) -> Outcome:
    """Throughput of access checks."""
    with system(setting.cores, [endpoints.GRPC]) as here, load_generator(setting.cores) as load:
        values = {"get": here.database.listed_ids(_ASKED), "check": _pairs(here), "batch": _pairs(here)}
        variants = {
            call: partial(here.job, endpoints.GRPC, call, callers=_CALLERS[call], seconds=1.0, values=of)
            for call, of in values.items()
        }
        found = in_turn(load, variants, setting.rounds)
    get, check, batch = (found[call] for call in values)
    names = {"get": "`GetSharing`", "check": "`CheckAccess`", "batch": f"`BatchCheckAccess`, {BATCH} each"}
    return Outcome(
        "access",
        "Access checks",
        f"Over gRPC, {_CALLERS['check']} callers, of batches {_CALLERS['batch']}; every answer is checked. A batch has"
        f" {BATCH} questions.",
        [Table(("call", *LOAD_HEADINGS), [(names[call], *load_cells(rounds)) for call, rounds in found.items()])],
        values={CHECK_TO_GET: ratio(check, get), BATCH_TO_CHECK: BATCH * ratio(batch, check)},
    )


def _pairs(here: System) -> Sequence[str]:
    """Backups of the listed project, each with a project that it is shared with."""
    with grpc.insecure_channel(here.address(endpoints.GRPC)) as channel:
        request = pb.ListSharingsRequest(project_id=LISTED, limit=_ASKED)
        page = rpc.BackupSharingServiceStub(channel).ListSharings(request, metadata=(("x-auth-token", TOKEN),))
    return [f"{one.backup_id}/{one.to_project_id}" for one in page.shared]
