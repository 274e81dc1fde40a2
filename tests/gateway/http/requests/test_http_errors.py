"""Malformed HTTP and unserviceable requests: every layer reports failures in the same shape."""

from __future__ import annotations

import pytest

from tests.gateway.http.conftest import LogLine, StartGateway
from tests.gateway.http.foreign import ForeignServer
from tests.gateway.http.gateways import Gateway
from tests.support.malformed import CHUNKS, NOT_HTTP, OTHER_CODINGS
from tests.support.wire import Answer, assert_failure, connected, exchange, get, head_of, post

READING = "/v1/stations/berlin/reading"
READINGS = "/v1/readings"
WATCH = "/v1/stations/berlin:watch"


async def refused(gateway: Gateway, sent: bytes) -> Answer:
    """Send bytes; return the only response. The gateway must then close the connection."""
    async with connected(gateway.address) as connection:
        connection.send(sent)
        answer = await connection.answer(is_head=sent.startswith(b"HEAD "))
        assert await connection.ended() == b""
    return answer


@pytest.mark.parametrize("sent", NOT_HTTP.values(), ids=NOT_HTTP)
async def test_what_is_not_http_is_400_and_closes_the_connection(
    foreign: ForeignServer, gateway: Gateway, sent: bytes
) -> None:
    assert_failure(await refused(gateway, sent), 400, "INVALID_ARGUMENT")
    assert foreign.seen == []


@pytest.mark.parametrize("sent", OTHER_CODINGS.values(), ids=OTHER_CODINGS)
async def test_a_transfer_coding_not_decoded_here_is_501(foreign: ForeignServer, gateway: Gateway, sent: bytes) -> None:
    calling = sent.replace(b" / ", f" {READINGS} ".encode(), 1).replace(
        b"Host: h\r\n", b"Host: h\r\nContent-Type: application/json\r\n"
    )
    for request in (sent, calling):
        assert_failure(await refused(gateway, request), 501, "UNIMPLEMENTED", "Transfer-Encoding")
    assert foreign.seen == []


SLOWLY = {
    **{name: (sent, 501) for name, sent in OTHER_CODINGS.items()},
    **{
        name: (sent, 400)
        for name, sent in NOT_HTTP.items()
        if "host" in name or "target '" in name or "HTTP/1.0" in name
    },
    "129 headers": (NOT_HTTP["129 headers"], 400),
}


@pytest.mark.parametrize(("sent", "status"), SLOWLY.values(), ids=SLOWLY)
async def test_the_parser_for_any_method_refuses_the_same(
    foreign: ForeignServer, start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch, sent: bytes, status: int
) -> None:
    monkeypatch.setattr("restmap_gateway.http.server.are_all_common", lambda _methods: False)
    gateway = await start_gateway()
    assert (await refused(gateway, sent)).status == status
    assert foreign.seen == []


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "CHUNKED", " chunked ", "\tchunked"])
async def test_chunks_are_read_however_they_are_spelled(foreign: ForeignServer, gateway: Gateway, coding: str) -> None:
    head = head_of("POST", READINGS, "Content-Type: application/json", f"Transfer-Encoding:{coding}")
    assert (await exchange(gateway.address, head + b"2\r\n{}\r\n0\r\n\r\n")).status == 200
    assert len(foreign.seen) == 1


@pytest.mark.parametrize("target", [READING, f"http://h{READING}"])
@pytest.mark.parametrize(
    "host",
    ["h", "h:80", "h:", "h.example.", "10.0.0.1:8080", "[::1]", "[2001:db8::1.2.3.4]:443", "a_b-c~d!$%41", "h:65535"],
)
async def test_a_host_is_a_name_or_an_address_and_a_port(gateway: Gateway, host: str, target: str) -> None:
    sent = f"GET {target.replace('//h', f'//{host}')} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    assert (await exchange(gateway.address, sent)).status == 200


@pytest.mark.parametrize("line", ["", "Host:\r\n", "Host: h\r\n"])
async def test_http_1_0_needs_no_host(gateway: Gateway, line: str) -> None:
    sent = f"GET {READING} HTTP/1.0\r\n{line}\r\n".encode()
    assert (await exchange(gateway.address, sent)).status == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (f"GET {READING} HTTP/1.0\r\n\r\n", 200),
        (f"GET {READING} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200),
        (f"HEAD {READING} HTTP/1.0\r\n\r\n", 200),
        (f"GET {WATCH} HTTP/1.0\r\n\r\n", 200),
        ("GET /nothing HTTP/1.0\r\n\r\n", 404),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/0.9\r\n\r\n", 400),
        ("GET / HTTP/9.9\r\nHost: h\r\n\r\n", 400),
        ("nonsense\r\n\r\n", 400),
        ("CONNECT h:1 HTTP/1.0\r\n\r\n", 404),
    ],
)
async def test_the_status_line_has_the_version_of_the_server(gateway: Gateway, sent: str, status: int) -> None:
    async with connected(gateway.address) as connection:
        connection.send(sent.encode())
        head = await connection.head()
    assert (head.version, head.status) == ("HTTP/1.1", status)


async def test_a_request_may_have_128_headers(gateway: Gateway) -> None:
    lines = [f"X-{number}: y" for number in range(127)]  # and Host
    assert (await exchange(gateway.address, get(READING, *lines))).status == 200
    answer = await exchange(gateway.address, get(READING, *lines, "X-One: more"))
    assert_failure(answer, 400, "INVALID_ARGUMENT", "more than 128 headers")


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
async def test_chunks_that_are_none_are_400(foreign: ForeignServer, gateway: Gateway, chunks: bytes) -> None:
    head = head_of("POST", READINGS, "Content-Type: application/json", "Transfer-Encoding: chunked")
    assert_failure(await refused(gateway, head + chunks), 400, "INVALID_ARGUMENT")
    assert foreign.seen == []


async def test_an_expectation_that_cannot_be_met_is_400(foreign: ForeignServer, gateway: Gateway) -> None:
    for sent in (post(READINGS, b"{}", "Expect: a-miracle"), get(READING, "Expect: a-miracle")):
        assert_failure(await exchange(gateway.address, sent), 400, "INVALID_ARGUMENT", "Expect", "a-miracle")
    assert foreign.seen == []


async def test_after_100_continue_the_body_is_read(foreign: ForeignServer, gateway: Gateway) -> None:
    async with connected(gateway.address) as connection:
        connection.send(head_of("POST", READINGS, "Content-Length: 14", "Expect: 100-Continue"))
        assert (await connection.head()).status == 100
        connection.send(b'{"note":"warm"}'[:14])
        assert_failure(await connection.answer(), 400, "INVALID_ARGUMENT", "not JSON")


async def test_an_http_1_0_client_is_not_told_to_continue(gateway: Gateway) -> None:
    sent = head_of("POST", READINGS, "Content-Length: 2", "Expect: 100-continue", version="1.0") + b"{}"
    assert (await exchange(gateway.address, sent)).status == 200


async def test_a_request_without_a_body_is_not_told_to_continue(gateway: Gateway) -> None:
    assert (await exchange(gateway.address, get(READING, "Expect: 100-continue"))).status == 200


@pytest.mark.parametrize(
    "line",
    ["Accept: \udcff", "Content-Type: \udcff", "Expect: \udcff", "Grpc-Timeout: \udcff", "Content-Encoding: \udcfe"],
)
async def test_bytes_that_are_no_text_are_quoted_and_not_a_defect(gateway: Gateway, line: str) -> None:
    body = b"{}"
    lines = [line] if line.startswith("Content-Type") else [line, "Content-Type: application/json"]
    sent = head_of("POST", READINGS, f"Content-Length: {len(body)}", *lines) + body
    answer = await exchange(gateway.address, sent)
    assert answer.status in (400, 406)
    assert "\\udcf" in answer.error["message"]


@pytest.mark.parametrize(
    "target",
    ["/\udcff", "/v1/stations/\udcff/reading", f"{READING}?\udcff=1", f"{READINGS}?limit=\udcff", "/v1/st%ff/reading"],
)
async def test_a_target_that_is_no_text_is_refused_and_not_a_defect(gateway: Gateway, target: str) -> None:
    answer = await exchange(gateway.address, get(target))
    assert_failure(answer, answer.status, {400: "INVALID_ARGUMENT", 404: "NOT_FOUND"}[answer.status])


@pytest.mark.parametrize("target", ["/", "//", "/v1", f"{READING}/", f"/{READING}", "/v1/stations//reading"])
async def test_an_unknown_path_is_404(gateway: Gateway, target: str) -> None:
    for method in ("GET", "OPTIONS", "PUT"):
        assert_failure(await exchange(gateway.address, head_of(method, target)), 404, "NOT_FOUND")


async def test_connect_is_404(gateway: Gateway) -> None:
    answer = await exchange(gateway.address, head_of("CONNECT", "elsewhere.example:443"))
    assert_failure(answer, 404, "NOT_FOUND")


async def test_405_says_what_is_allowed(gateway: Gateway) -> None:
    for target, allowed in ((READING, "GET, HEAD, OPTIONS"), (READINGS, "GET, HEAD, OPTIONS, POST")):
        answer = await exchange(gateway.address, head_of("PATCH", target))
        assert_failure(answer, 405, "UNIMPLEMENTED", allowed)
        assert answer.headers["Allow"] == allowed


async def test_options_says_what_is_allowed_and_calls_nothing(foreign: ForeignServer, gateway: Gateway) -> None:
    answer = await exchange(gateway.address, head_of("OPTIONS", READINGS))
    assert (answer.status, answer.body, answer.headers["Allow"]) == (200, b"", "GET, HEAD, OPTIONS, POST")
    assert "Content-Type" not in answer.headers
    assert foreign.seen == []


@pytest.mark.parametrize(
    "line", ["Content-Type: text/plain", "Content-Type: application/json; charset=latin-1", "Content-Encoding: gzip"]
)
async def test_a_body_that_says_it_is_not_plain_json_is_400(
    foreign: ForeignServer, gateway: Gateway, line: str
) -> None:
    sent = head_of("POST", READINGS, line, "Content-Length: 2") + b"{}"
    assert_failure(await exchange(gateway.address, sent), 400, "INVALID_ARGUMENT", line.partition(":")[0])
    assert foreign.seen == []


async def test_406_comes_before_400(gateway: Gateway) -> None:
    sent = post(READINGS, b"nonsense", "Accept: text/html")
    assert_failure(await exchange(gateway.address, sent), 406, "INVALID_ARGUMENT", "text/html")


async def test_a_defect_is_500_with_nothing_but_the_request_id(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, logged: list[LogLine]
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr("restmap_gateway.transcode.headers.timeout", broken)
    answer = await exchange(gateway.address, get(READING))
    assert_failure(answer, 500, "INTERNAL", answer.headers["X-Weather-Id"])
    assert b"secret" not in answer.body
    (defect,) = (line for line in logged if line["event"] == "defect")
    assert defect["request_id"] == answer.headers["X-Weather-Id"]
    logged.remove(defect)
