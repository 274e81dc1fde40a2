"""Trace and span id in the logs of both programs, without OpenTelemetry."""

from __future__ import annotations

import json

from tests.support.system import Project, System
from tests.support.wire import Json, connected, get

SPAN = "b7ad6b7169203331"


def lines_of(printed: str, trace_id: str) -> list[dict[str, Json]]:
    found = (json.loads(line) for line in printed.splitlines())
    return [line for line in found if line.get("trace_id") == trace_id]


async def test_both_programs_log_the_trace_of_a_client(system: System, giver: Project, recipient: Project) -> None:
    trace_id, backup_id = recipient.id, system.put_backup(giver)
    answer = await system.share(giver, backup_id, recipient.id, traceparent=f"00-{trace_id}-{SPAN}-01")
    assert answer.status == 200
    system.gateway.wait_for(trace_id)
    [request] = lines_of(system.gateway.printed, trace_id)
    [call] = lines_of(system.server.wait_for(trace_id), trace_id)
    assert (request["event"], call["event"]) == ("request", "call")
    assert (request["span_id"], call["span_id"]) == (SPAN, SPAN)
    assert request["request_id"]


async def test_a_trace_ends_with_its_request(system: System, giver: Project) -> None:
    """Requests over one connection share a task of the gateway."""
    trace_id = giver.id
    valid = f"traceparent: 00-{trace_id}-{SPAN}-01"
    async with connected(system.rest.address) as connection:
        for trace in ([valid], [], [f"{valid}1"], [valid, valid]):
            connection.send(get(f"{giver.path}/count", f"X-Auth-Token: {giver.token}", *trace))
            answer = await connection.answer()
            assert answer.status == 200
    last = answer.headers["X-Openstack-Request-Id"]
    for program in (system.gateway, system.server):
        assert len(lines_of(program.wait_for(last), trace_id)) == 1
