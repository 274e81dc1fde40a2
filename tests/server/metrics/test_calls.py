"""Metrics of calls: what is counted, and that no caller can add a series."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Sequence

import grpc
import pytest
from google.protobuf.message import Message
from prometheus_client import CollectorRegistry

from backup_sharing.errors import Failure
from backup_sharing.metrics.calls import CallMetrics, code_label
from backup_sharing.rpc.admission.unknown import UnknownMethods
from backup_sharing.rpc.pipeline import Pipeline, ServedMethod
from backup_sharing.rpc.status import REASONS
from backup_sharing.usecases import policy
from backup_sharing.usecases.sharing import Caller
from backupsharing.v2 import backup_sharing_pb2 as pb
from programkit.metrics import Readings
from tests.server.calls import COUNT, call
from tests.server.failures import EXAMPLES
from tests.server.identities import GIVER, MADE_REQUEST_ID, identity

CODES = [code.name for code in grpc.StatusCode]
COUNT_OF_GIVER = pb.CountSharingsRequest(project_id=GIVER)
LABELS = {
    "grpc_type": "unary",
    "grpc_service": "backupsharing.v2.BackupSharingService",
    "grpc_method": "CountSharings",
}
UNKNOWN = dict.fromkeys(LABELS, "unknown")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> CallMetrics:
    return CallMetrics(Readings(registry), dict.fromkeys(policy.METHODS, "unary"), CODES, REASONS)


def series(registry: CollectorRegistry) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    samples = [sample for family in registry.collect() for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples}


def handled(registry: CollectorRegistry, code: str, reason: str = "", **labels: str) -> float | None:
    return registry.get_sample_value(
        "grpc_server_handled_total", {**(labels or LABELS), "grpc_code": code, "reason": reason}
    )


def pipeline_of(metrics: CallMetrics, answer: Message | Exception) -> Pipeline:
    async def handle(_: Caller, __: Message) -> Message:
        if isinstance(answer, Exception):
            raise answer
        return answer

    method = ServedMethod(COUNT, pb.CountSharingsRequest, lambda request: request.project_id, handle)
    return Pipeline([method], identity(), 1.0, lambda: MADE_REQUEST_ID, observer=metrics)


@pytest.mark.parametrize(
    ("name", "label"),
    [("OK", "OK"), ("CANCELLED", "Canceled"), ("NOT_FOUND", "NotFound"), ("DEADLINE_EXCEEDED", "DeadlineExceeded")],
)
def test_codes_are_spelt_as_by_the_interceptors(name: str, label: str) -> None:
    assert code_label(name) == label


def test_every_method_has_its_series_before_any_call(registry: CollectorRegistry, metrics: CallMetrics) -> None:
    for method in policy.METHODS:
        _, service, name = method.split("/")
        labels = {"grpc_type": "unary", "grpc_service": service, "grpc_method": name}
        assert registry.get_sample_value("grpc_server_started_total", labels) == 0
        assert handled(registry, "OK", **labels) == 0


async def test_a_call_is_started_handled_and_timed(registry: CollectorRegistry, metrics: CallMetrics) -> None:
    for _ in range(2):
        await pipeline_of(metrics, pb.CountSharingsResponse(count=7)).carry_out(call(COUNT, COUNT_OF_GIVER))
    assert registry.get_sample_value("grpc_server_started_total", LABELS) == 2
    assert registry.get_sample_value("grpc_server_handling_seconds_count", LABELS) == 2
    assert handled(registry, "OK") == 2
    stage = "backup_sharing_stage_duration_seconds_count"
    assert registry.get_sample_value(stage, {"stage": "identity"}) == 2
    assert registry.get_sample_value(stage, {"stage": "turn"}) == 0


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
async def test_a_failure_counts_under_its_code_and_reason(
    registry: CollectorRegistry, metrics: CallMetrics, error: Failure
) -> None:
    answer = await pipeline_of(metrics, error).carry_out(call(COUNT, COUNT_OF_GIVER))
    assert answer.status is not None
    assert handled(registry, code_label(answer.status.code.name), answer.status.reason) == 1


async def test_a_defect_counts_as_internal(registry: CollectorRegistry, metrics: CallMetrics) -> None:
    await pipeline_of(metrics, ZeroDivisionError()).carry_out(call(COUNT, COUNT_OF_GIVER))
    assert handled(registry, "Internal", "INTERNAL") == 1


async def test_an_unknown_caller_counts_in_the_identity_stage(
    registry: CollectorRegistry, metrics: CallMetrics
) -> None:
    await pipeline_of(metrics, ZeroDivisionError()).carry_out(call(COUNT, COUNT_OF_GIVER, token="nobody"))
    assert handled(registry, "Unauthenticated", "TOKEN_INVALID") == 1
    assert registry.get_sample_value("backup_sharing_stage_duration_seconds_count", {"stage": "identity"}) == 1


class Details:
    """Call details with a method that nobody serves."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.invocation_metadata = ()


def made_up(number: int) -> Sequence[str]:
    """Return names that no service has, of every shape."""
    drawn = random.Random(number)  # noqa: S311 -- test data
    letters = "".join(drawn.choices('aZ09_./"\\\n{}ä\0', k=drawn.randrange(1, 200)))
    return [letters, f"/{letters}", f"/backupsharing.v2.BackupSharingService/{letters}", f"/{letters}/ShareBackup"]


def test_made_up_methods_share_one_series(registry: CollectorRegistry, metrics: CallMetrics) -> None:
    handler = UnknownMethods(metrics)
    handler.service(Details("/no.Such/Method"))  # type: ignore[arg-type]  # what the handler reads of it
    before, number = series(registry), 1
    for name in [name for number in range(200) for name in made_up(number)]:
        handler.service(Details(name))  # type: ignore[arg-type]  # what the handler reads of it
        number += 1
    assert series(registry) == before
    assert handled(registry, "Unimplemented", **UNKNOWN) == number
    assert registry.get_sample_value("grpc_server_started_total", UNKNOWN) == number


def test_made_up_codes_and_reasons_add_one_series(registry: CollectorRegistry, metrics: CallMetrics) -> None:
    metrics.ended(COUNT, "?", "?", 0.0)
    before = series(registry)
    for name in [name for number in range(200) for name in made_up(number)]:
        metrics.ended(COUNT, name, name, 0.0)
    assert series(registry) == before
    assert handled(registry, "unknown", "unknown") == 801


def test_made_up_names_are_not_kept_in_memory(metrics: CallMetrics) -> None:
    def kept() -> int:
        return len(metrics._methods) + len(metrics._unknown.handled) + len(metrics._methods[COUNT].handled)

    sizes = set()
    for name in ("/no.Such/Method", *made_up(1)):
        metrics.began(name)
        metrics.ended(name, name, name, 0.0)
        metrics.ended(COUNT, name, "", 0.0)
        sizes.add(kept())
    assert len(sizes) == 1


@pytest.mark.parametrize("request_", [b"", b"\xff", b"\x0a\x7f", b"\0" * 70])
@pytest.mark.parametrize("project", ["", "x", "0" * 64, "ä\0"])
async def test_garbage_in_calls_adds_no_series(
    registry: CollectorRegistry, metrics: CallMetrics, request_: bytes, project: str
) -> None:
    pipeline = pipeline_of(metrics, pb.CountSharingsResponse())

    async def send(*calls: Awaitable[object]) -> None:
        for one in calls:
            await one

    def garbage(salt: str) -> Sequence[Awaitable[object]]:
        metadata = {"x-auth-token": f"token{salt}", "x-openstack-request-id": salt, "x-forwarded-for": salt}
        message = pb.CountSharingsRequest(project_id=project + salt)
        return [
            pipeline.carry_out(call(COUNT, request_)),
            pipeline.carry_out(call(COUNT, message)),
            pipeline.carry_out(call(COUNT, message, metadata=metadata)),
        ]

    await send(*garbage("1"))
    before = series(registry)
    for salt in map(str, range(20)):
        await send(*garbage(salt))
    assert series(registry) == before
