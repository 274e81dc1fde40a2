"""One trace through both programs, from the client to the commit, received by a collector."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.sdk")

from tests.support.collector import Collector, Received, over_grpc, over_http
from tests.support.programs import Programs
from tests.support.system import Project, System, new_id
from tests.support.wire import connected, get

SPAN = "b7ad6b7169203331"
SERVER, CLIENT, INTERNAL = 2, 3, 1
SHARE = "backupsharing.v2.BackupSharingService/ShareBackup"
ROUTE = "/v2/{project_id}/os-vendor-backup-sharing"
STAGES = ["identity", "turn", "checks", "waiting", "lock", "decision", "commit", "reply", "work"]

Protocol = Callable[[Collector], AbstractContextManager[Mapping[str, str]]]


class Traced:
    """A pair that sends its traces to a collector."""

    def __init__(self, folder: Path, stack: ExitStack, protocol: Protocol, *flags: str, **variables: str) -> None:
        self.collector = Collector()
        where = stack.enter_context(protocol(self.collector))
        programs = stack.enter_context(Programs(**{"OTEL_BSP_SCHEDULE_DELAY": "20"} | dict(where) | variables))
        self.system = System(folder, programs, 20, *flags)
        stack.callback(self.system.close)


@pytest.fixture(scope="module", params=[over_grpc, over_http], ids=["grpc", "http"])
def traced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    with ExitStack() as stack:
        variables = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "parentbased_always_off"}
        yield Traced(tmp_path_factory.mktemp("traced"), stack, request.param, **variables)


def by_name(spans: Sequence[Received]) -> Mapping[str, Received]:
    return {f"{span.kind} {span.name}": span for span in spans}


async def test_one_trace_leads_from_the_client_to_the_commit(traced: Traced) -> None:
    system, giver, trace_id = traced.system, traced.system.new_project(), new_id()
    backup_id = system.put_backup(giver)
    await multiplexed(system, giver)
    answer = await system.share(giver, backup_id, new_id(), traceparent=f"00-{trace_id}-{SPAN}-01", tracestate="a=1")
    assert answer.status == 200
    found = by_name(await traced.collector.wait_for(trace_id, lambda spans: len(spans) == 3 + len(STAGES)))
    request, sent, call = found[f"2 POST {ROUTE}"], found[f"3 {SHARE}"], found[f"2 {SHARE}"]
    assert (request.parent_id, sent.parent_id, call.parent_id) == (SPAN, request.span_id, sent.span_id)
    assert [span.program for span in (request, sent, call)] == [
        *["backup-sharing-gateway"] * 2,
        "backup-sharing-server",
    ]
    stages = sorted((span for span in found.values() if span.kind == INTERNAL), key=lambda span: span.began)
    assert [span.name for span in stages] == STAGES
    assert {span.parent_id for span in stages} == {call.span_id}
    assert all(call.began <= span.began <= span.ended <= call.ended for span in stages)
    assert [(span.attributes["batch.size"]) for span in stages if span.name == "commit"] == [1]
    assert dict(request.attributes) | {"client.address": ""} == {
        "http.request.method": "POST", "http.route": ROUTE, "url.path": giver.path, "url.scheme": "http",
        "http.response.status_code": 200, "client.address": "",
    }  # fmt: skip
    for span in (sent, call):
        assert span.attributes["rpc.system"] == "grpc"
        assert (span.attributes["rpc.service"], span.attributes["rpc.method"]) == tuple(SHARE.split("/"))
        assert span.attributes["rpc.grpc.status_code"] == 0
    assert not any(span.is_error for span in found.values())
    line = next(line for line in system.calls() if line.get("trace_id") == trace_id)
    assert line["span_id"] == call.span_id
    assert call.attributes["request.id"] == line["request_id"]


async def sides_of(traced: Traced, trace_id: str) -> Mapping[tuple[int, str], Received]:
    """Return the spans of the three sides of a call, by kind and program."""

    def of(spans: Sequence[Received]) -> Mapping[tuple[int, str], Received]:
        return {(span.kind, span.program): span for span in spans if span.kind != INTERNAL}

    return of(await traced.collector.wait_for(trace_id, lambda spans: len(of(spans)) == 3))


async def multiplexed(system: System, project: Project) -> None:
    """Make calls until one goes over the stream: the server has the stream's peer for all of them."""
    for _ in range(5):
        await system.count(project)


async def test_calls_in_one_frame_keep_their_own_traces(traced: Traced) -> None:
    system, project = traced.system, traced.system.new_project()
    await multiplexed(system, project)
    traces = [new_id() for _ in range(20)]
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(connected(system.rest.address)) for _ in traces]
        for connection, trace_id in zip(opened, traces, strict=True):
            token = f"X-Auth-Token: {project.token}"
            connection.send(get(f"{project.path}/count", token, f"traceparent: 00-{trace_id}-{SPAN}-01"))
        for connection in opened:
            assert (await connection.answer()).status == 200
    for trace_id in traces:
        sides = await sides_of(traced, trace_id)
        sent, call = sides[CLIENT, "backup-sharing-gateway"], sides[SERVER, "backup-sharing-server"]
        assert call.parent_id == sent.span_id


async def test_failures_and_their_status_are_in_the_trace(traced: Traced) -> None:
    system, giver, trace_id = traced.system, traced.system.new_project(), new_id()
    headers = {"traceparent": f"00-{trace_id}-{SPAN}-01"}
    answer = await system.rest.call("GET", f"{giver.path}/{new_id()}", token=giver.token, headers=headers)
    assert answer.status == 400
    spans = await traced.collector.wait_for(
        trace_id, lambda spans: any(s.kind == SERVER for s in spans) and len(spans) >= 4
    )
    sides = {(span.kind, span.program): span for span in spans if span.kind != INTERNAL}
    assert sides[CLIENT, "backup-sharing-gateway"].is_error
    assert sides[CLIENT, "backup-sharing-gateway"].attributes["error.type"] == "INVALID_ARGUMENT"
    # The mistake is the caller's: the server has done its work.
    assert not sides[SERVER, "backup-sharing-server"].is_error
    assert not sides[SERVER, "backup-sharing-gateway"].is_error
    assert sides[SERVER, "backup-sharing-gateway"].attributes["http.response.status_code"] == 400


async def test_a_watch_is_one_span_on_each_side(traced: Traced) -> None:
    system, project, trace_id = traced.system, traced.system.new_project(), new_id()
    target = f"{project.path}-events/watch?from_beginning=true"
    backup_id = system.put_backup(project)
    for _ in range(3):
        await system.share(project, backup_id, new_id())
    async with connected(system.rest.address) as connection:
        token = f"X-Auth-Token: {project.token}"
        connection.send(get(target, token, "Accept: text/event-stream", f"traceparent: 00-{trace_id}-{SPAN}-01"))
        await connection.head()
        for _ in range(3):
            await connection.chunk()
    sides = await sides_of(traced, trace_id)
    watch = sides[SERVER, "backup-sharing-server"]
    assert watch.name == "backupsharing.v2.BackupAccessService/WatchSharings"
    assert watch.parent_id == sides[CLIENT, "backup-sharing-gateway"].span_id


async def test_what_the_client_does_not_sample_is_not_sent(traced: Traced) -> None:
    system, project = traced.system, traced.system.new_project()
    not_sampled, garbage, sampled = new_id(), new_id(), new_id()
    for trace in (f"00-{not_sampled}-{SPAN}-00", f"00-{garbage}-{SPAN}-01-garbage", "", f"00-{sampled}-{SPAN}-01"):
        headers = {"traceparent": trace} if trace else {}
        answer = await system.rest.call("GET", f"{project.path}/count", token=project.token, headers=headers)
        assert answer.status == 200
    await sides_of(traced, sampled)
    known = {span.trace_id for span in traced.collector.spans()}
    assert not known & {not_sampled, garbage}
    # Not sampled calls have ids in the log too, the same in both programs.
    request_id = answer.headers["X-Openstack-Request-Id"]
    lines = [json.loads(line) for line in system.gateway.wait_for(request_id).splitlines()]
    [line] = [line for line in lines if line.get("trace_id") == not_sampled]
    assert line["span_id"] == SPAN


async def test_a_hanging_receiver_delays_neither_calls_nor_the_end(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # connects, and never replies
        endpoint = f"http://127.0.0.1:{hanging.getsockname()[1]}"
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": "3600"}
        variables |= {"OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2", "OTEL_SERVICE_NAME": "x"}
        with Programs(**variables, OTEL_TRACES_EXPORTER="otlp") as programs:
            system = System(tmp_path, programs, 1)
            project = system.new_project()
            for _ in range(30):
                assert await system.count(project) == 0
            system.close()
            for program in (system.gateway, system.server):
                program.close_stdin()
                assert await asyncio.to_thread(program.wait) == 0
                lines = [json.loads(line) for line in program.printed.splitlines()]
                problems = [line["problem"] for line in lines if line["event"] == "traces"]
                # The first complaint, and the end; those in between are counted, not written.
                assert problems == [problems[0], "the last spans could not be sent in time"]
                assert "dropping" in problems[0]
                assert lines[-1]["event"] == "stopped"
