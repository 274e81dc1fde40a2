"""Failures for malformed HTTP, and the effects of request headers."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.malformed import CHUNKS, NOT_HTTP
from tests.support.programs import PATIENCE
from tests.support.rest import Rest, assert_failure, assert_success
from tests.support.system import Project, System
from tests.support.wire import read_answer

MALFORMED = "VolumeBackup.0002"
REQUEST_ID = "req-066b1e37-9305-4057-97e5-2e99b21fc71d"


@pytest.mark.parametrize("sent", NOT_HTTP.values(), ids=NOT_HTTP)
async def test_what_is_not_http_is_400_in_our_shape(rest: Rest, sent: bytes) -> None:
    assert_failure(await rest.exchange(sent), 400, MALFORMED)


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
async def test_chunks_that_are_none_are_400(system: System, giver: Project, chunks: bytes) -> None:
    head = f"POST {giver.path} HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {giver.token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert_failure(await system.rest.exchange(head.encode() + chunks), 400, MALFORMED)


async def test_a_body_in_chunks_is_taken(system: System, giver: Project, backup_id: str) -> None:
    body = f'{{"shared": {{"backup_id": "{backup_id}", "to_project_ids": ["recipient"]}}}}'.encode()
    head = f"POST {giver.path} HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {giver.token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    assert_success(await system.rest.exchange(head.encode() + chunks))


async def test_a_body_in_too_many_chunks_is_400(system: System, giver: Project) -> None:
    head = f"POST {giver.path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = (b"10000\r\n" + b" " * 0x10000 + b"\r\n") * 17
    answer = await system.rest.exchange(head.encode() + chunks + b"0\r\n\r\n")
    assert_failure(answer, 400, MALFORMED, str(1 << 20))


async def test_a_body_cut_off_by_the_client_stores_nothing(system: System, giver: Project, backup_id: str) -> None:
    reader, writer = await system.rest.connect()
    head = f"POST {giver.path} HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {giver.token}\r\nContent-Length: 500\r\n\r\n"
    writer.write(f'{head}{{"shared": {{"backup_id": "{backup_id}", "to_project_ids": ["r"]}}}}'.encode())
    writer.write_eof()
    async with asyncio.timeout(PATIENCE):
        await reader.read()
    writer.close()
    assert await system.count(giver) == 0


async def test_a_refused_body_is_not_taken_for_a_second_request(system: System, giver: Project, backup_id: str) -> None:
    smuggled = (
        f"DELETE {giver.path}/{backup_id}?is_backup_id=true HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {giver.token}\r\n"
    )
    assert_success(await system.share(giver, backup_id, "recipient"))
    head = f"POST {giver.path} HTTP/1.1\r\nHost: h\r\nContent-Length: {2 << 20}\r\n\r\n"
    assert_failure(await system.rest.exchange(f"{head}{smuggled}\r\n".encode()), 400, MALFORMED)
    assert await system.count(giver) == 1


async def test_several_requests_on_one_connection_keep_their_order(rest: Rest, idle: Project) -> None:
    reader, writer = await rest.connect()
    for end in ("count", "detail", "nothing/there"):
        writer.write(f"GET {idle.path}/{end} HTTP/1.1\r\nHost: h\r\nX-Auth-Token: {idle.token}\r\n\r\n".encode())
    assert assert_success(await read_answer(reader)) == {"count": 0}
    assert assert_success(await read_answer(reader)) == {"shared": []}
    assert_failure(await read_answer(reader), 404, "BackupSharing.0404")
    writer.close()


async def test_a_target_in_absolute_form_is_taken(rest: Rest, idle: Project) -> None:
    target = f"http://elsewhere.example{idle.path}/count"
    assert assert_success(await rest.call("GET", target, token=idle.token)) == {"count": 0}


@pytest.mark.parametrize("value", ["caf\u00e9", "a\tb", "\udcff"])
async def test_a_token_that_is_not_printable_ascii_is_400(rest: Rest, idle: Project, value: str) -> None:
    answer = await rest.call("GET", f"{idle.path}/count", headers={"X-Auth-Token": value})
    assert_failure(answer, 400, MALFORMED, "x-auth-token")


async def test_two_tokens_are_400(rest: Rest, idle: Project) -> None:
    headers = [("X-Auth-Token", idle.token), ("x-auth-token", idle.token)]
    answer = await rest.call("GET", f"{idle.path}/count", headers=headers)
    assert_failure(answer, 400, MALFORMED, "x-auth-token", "2 times")


async def test_a_request_has_one_id_in_its_answer_and_in_both_logs(system: System, giver: Project) -> None:
    for end in ("count", "abc"):
        answer = await system.rest.call("GET", f"{giver.path}/{end}", token=giver.token)
        for program in (system.server, system.gateway):
            await asyncio.to_thread(program.wait_for, f'"request_id":"{answer.request_id}"')


async def test_a_client_cannot_choose_its_request_id(system: System, giver: Project) -> None:
    given = {"X-Openstack-Request-Id": REQUEST_ID}
    answer = await system.rest.call("GET", f"{giver.path}/count", token=giver.token, headers=given)
    assert answer.request_id != REQUEST_ID
    for program in (system.server, system.gateway):
        await asyncio.to_thread(program.wait_for, f'"client_request_id":"{REQUEST_ID}"')
        assert f'"request_id":"{REQUEST_ID}"' not in program.printed


@pytest.mark.parametrize("given", ["", "req-1", REQUEST_ID.upper(), f"{REQUEST_ID}0", "req-<script>", "req-\u00e9"])
async def test_a_malformed_request_id_is_replaced(rest: Rest, idle: Project, given: str) -> None:
    headers = {"X-Openstack-Request-Id": given}
    answer = await rest.call("GET", f"{idle.path}/nothing/there", token=idle.token, headers=headers)
    assert_failure(answer, 404, "BackupSharing.0404")
    assert answer.request_id != given


async def test_each_request_has_an_id_of_its_own(rest: Rest, idle: Project) -> None:
    answers = [await rest.call("GET", f"{idle.path}/count", token=idle.token) for _ in range(3)]
    assert len({answer.request_id for answer in answers}) == 3


async def test_head_is_get_without_a_body(rest: Rest, idle: Project) -> None:
    for path in (f"{idle.path}/count", f"{idle.path}/detail", f"{idle.path}/abc", "/nothing"):
        got = await rest.call("GET", path, token=idle.token)
        headed = await rest.call("HEAD", path, token=idle.token)
        assert headed.status == got.status
        for name in ("Content-Type", "Content-Length"):
            assert headed.headers[name] == got.headers[name]


@pytest.mark.parametrize(
    ("end", "allowed"),
    [
        ("", {"POST", "OPTIONS"}),
        ("/detail", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("/066b1e37-9305-4057-97e5-2e99b21fc71d", {"GET", "HEAD", "DELETE", "OPTIONS"}),
    ],
)
async def test_options_says_what_is_allowed(rest: Rest, idle: Project, end: str, allowed: set[str]) -> None:
    answer = await rest.call("OPTIONS", f"{idle.path}{end}")
    assert (answer.status, answer.body) == (200, b"")
    assert set(answer.headers["Allow"].split(", ")) == allowed
    assert answer.request_id


async def test_no_token_is_in_any_log(system: System, giver: Project) -> None:
    given = {"X-Openstack-Request-Id": "req-00000000-0000-4000-8000-00000000cafe"}
    await system.rest.call("GET", f"{giver.path}/detail?name=secret-name", token=giver.token, headers=given)
    for program in (system.server, system.gateway):
        printed = await asyncio.to_thread(program.wait_for, given["X-Openstack-Request-Id"])
        assert giver.token not in printed
        assert "secret-name" not in printed


async def test_the_server_logs_one_line_for_each_call(system: System, giver: Project) -> None:
    answer = await system.rest.call("GET", f"{giver.path}/abc", token=giver.token)
    await asyncio.to_thread(system.server.wait_for, answer.request_id)
    (line,) = (line for line in system.calls() if line["request_id"] == answer.request_id)
    expected = {"code": "INVALID_ARGUMENT", "reason": "SHARING_ID_MALFORMED", "project_id": giver.id}
    assert {name: line[name] for name in expected} == expected
    assert line["method"].endswith("/GetSharing")
