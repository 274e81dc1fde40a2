"""The admin port: pages, access, and clients that are slow, hostile or on the wrong port."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text_format
from prometheus_client.registry import Collector

from programkit.admin_http.access import Access
from programkit.admin_http.connection import AdminLimits
from programkit.admin_http.readyz import Condition, Readyz
from programkit.admin_port import AdminPort, CannotServeAdmin, open_admin_port
from tests.support.ports import free_address
from tests.support.programs import PATIENCE

LOCAL = "127.0.0.1:0"


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401
        return json.loads(self.body)


@asynccontextmanager
async def opened(
    *,
    readyz: Readyz | None = None,
    registry: CollectorRegistry | None = None,
    allow: Sequence[str] = (),
    hosts: Sequence[str] = (),
    limits: AdminLimits | None = None,
    listen: str = LOCAL,
) -> AsyncIterator[AdminPort]:
    port = AdminPort(Access.of(listen, allow, hosts), readyz or Readyz(), registry or CollectorRegistry(), limits)
    await port.start(listen)
    try:
        yield port
    finally:
        await port.close()


@asynccontextmanager
async def connected(port: AdminPort) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(*port.address)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def ask(port: AdminPort, head: str, *headers: str, host: str = "Host: localhost") -> Reply:
    """Send a request and read until the connection closes."""
    async with connected(port) as (reader, writer):
        lines = [f"{head} HTTP/1.1", *([host] if host else []), *headers, "", ""]
        writer.write("\r\n".join(lines).encode("latin-1"))
        async with asyncio.timeout(PATIENCE):
            return parsed(await reader.read(-1))


def parsed(answer: bytes) -> Reply:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return Reply(int(first.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}, body)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail on a warning of asyncio or aiohttp."""
    yield
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


async def healthy() -> Condition:
    return Condition(ok=True, details={"engine": "own"})


async def restricted() -> Condition:
    return Condition(ok=True, reason="Half of it is gone.")


async def broken() -> Condition:
    return Condition(ok=False, reason="All of it is gone.")


async def test_the_port_serves_while_the_program_starts() -> None:
    async with opened() as port:
        assert (await ask(port, "GET /livez")).status == 200
        reply = await ask(port, "GET /readyz")
    assert (reply.status, reply.json["status"]) == (503, "starting")
    assert reply.json["checks"] == [{"name": "starting", "ok": False, "reason": "The program starts."}]


async def test_a_program_is_ready_while_all_checks_are_ok() -> None:
    readyz = Readyz()
    readyz.serve({"store": healthy, "identity": restricted})
    async with opened(readyz=readyz) as port:
        reply = await ask(port, "GET /readyz")
    assert (reply.status, reply.json["status"]) == (200, "ready")
    assert reply.json["checks"] == [
        {"name": "store", "ok": True, "reason": ""},
        {"name": "identity", "ok": True, "degraded": True, "reason": "Half of it is gone."},
        {"name": "draining", "ok": True, "reason": ""},
    ]


async def test_a_failed_check_makes_it_unready_with_the_reason() -> None:
    readyz = Readyz()
    readyz.serve({"store": healthy, "upstream": broken})
    async with opened(readyz=readyz) as port:
        reply = await ask(port, "GET /readyz")
        assert (await ask(port, "GET /livez")).status == 200
    assert (reply.status, reply.json["status"]) == (503, "not ready")
    assert reply.json["checks"][1] == {"name": "upstream", "ok": False, "reason": "All of it is gone."}


async def test_verbose_adds_details() -> None:
    readyz = Readyz()
    readyz.serve({"store": healthy})
    async with opened(readyz=readyz) as port:
        reply = await ask(port, "GET /readyz?verbose")
    assert reply.json["checks"][0]["details"] == {"engine": "own"}


async def test_a_draining_program_lives_and_is_not_ready() -> None:
    readyz = Readyz()
    readyz.serve({"store": healthy})
    readyz.drain()
    async with opened(readyz=readyz) as port:
        reply = await ask(port, "GET /readyz")
        assert (await ask(port, "GET /livez")).status == 200
    assert (reply.status, reply.json["status"]) == (503, "draining")
    assert reply.json["checks"][-1]["name"] == "draining"
    assert not reply.json["checks"][-1]["ok"]


async def test_a_defect_of_a_check_does_not_hide_the_others() -> None:
    async def defect() -> Condition:
        raise RuntimeError("secret")

    readyz = Readyz()
    readyz.serve({"first": defect, "second": healthy})
    async with opened(readyz=readyz) as port:
        reply = await ask(port, "GET /readyz")
    assert reply.status == 503
    assert [one["ok"] for one in reply.json["checks"]] == [False, True, True]
    assert "secret" not in str(reply.json)


async def test_a_check_that_hangs_is_not_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("programkit.admin_http.readyz._CHECK_SECONDS", 0.01)

    async def hanging() -> Condition:
        await asyncio.Event().wait()
        raise AssertionError

    readyz = Readyz()
    readyz.serve({"store": hanging})
    async with opened(readyz=readyz) as port:
        reply = await ask(port, "GET /readyz")
    assert reply.status == 503
    assert "no result" in reply.json["checks"][0]["reason"]


async def test_polls_are_remembered_for_a_minute() -> None:
    now = [0.0]
    readyz = Readyz(lambda: now[0])
    assert not readyz.is_polled
    async with opened(readyz=readyz) as port:
        await ask(port, "GET /livez")
        assert not readyz.is_polled
        await ask(port, "GET /readyz")
    assert readyz.is_polled
    now[0] = 60.0
    assert not readyz.is_polled


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_other_methods_are_refused_and_name_the_allowed(method: str, path: str) -> None:
    async with opened() as port:
        reply = await ask(port, f"{method} {path}", "Content-Length: 0")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


async def test_head_has_the_headers_and_no_body() -> None:
    async with opened() as port:
        reply = await ask(port, "HEAD /livez")
    assert (reply.status, reply.body) == (200, b"")
    assert int(reply.headers["content-length"]) > 0


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics/", "//metrics", "/../metrics", "/readyz/store", "/%00"])
async def test_an_unknown_path_lists_the_known_ones(path: str) -> None:
    async with opened() as port:
        reply = await ask(port, f"GET {path}")
    assert reply.status == 404
    assert reply.json["paths"] == ["/livez", "/readyz", "/metrics"]


REBOUND = ["evil.example", "evil.example:9090", "localhost.evil.example", "127.0.0.1.evil.example", "", "[evil]:80"]


@pytest.mark.parametrize("host", REBOUND)
async def test_the_name_of_another_site_gets_nothing(host: str) -> None:
    async with opened() as port:
        for path in ("/livez", "/metrics", "/unknown"):
            reply = await ask(port, f"GET {path}", host=f"Host: {host}")
            assert reply.status == 403
            assert "--admin-host" in reply.json["error"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9", "127.0.0.1:80", "10.1.2.3", "[::1]:80", "[fe80::1%25eth0]"]
)
async def test_addresses_and_localhost_are_accepted_as_host(host: str) -> None:
    async with opened() as port:
        assert (await ask(port, "GET /livez", host=f"Host: {host}")).status == 200


@pytest.mark.parametrize("host", ["server.monitoring.svc", "SERVER.monitoring.svc.:9090"])
async def test_a_name_of_admin_host_is_accepted(host: str) -> None:
    async with opened(hosts=["server.monitoring.svc"]) as port:
        assert (await ask(port, "GET /livez", host=f"Host: {host}")).status == 200


async def test_the_host_of_admin_listen_is_accepted() -> None:
    access = Access.of("node7.internal:9090", ["10.0.0.0/8"], [])
    assert access.why_not_host(["node7.internal:9090"], is_required=True) is None


@pytest.mark.parametrize("headers", [["Host: localhost", "Host: localhost"], [""]])
async def test_a_request_needs_exactly_one_host(headers: list[str]) -> None:
    async with opened() as port:
        first, *more = headers
        assert (await ask(port, "GET /livez", *more, host=first)).status in (400, 403)


async def test_an_old_client_without_host_is_served() -> None:
    async with opened() as port, connected(port) as (reader, writer):
        writer.write(b"GET /livez HTTP/1.0\r\n\r\n")
        assert parsed(await reader.read(-1)).status == 200


@pytest.mark.parametrize(
    ("peer", "is_accepted"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("11.1.2.3", False),
        ("::ffff:11.1.2.3", False),
        ("172.16.0.9", True),
        ("172.16.1.9", False),
        ("fd00::7", True),
        ("fd00::7%eth0", True),
        ("fd01::7", False),
        ("::a01:203", False),
        ("", False),
    ],
)
def test_peers_of_the_named_networks_are_accepted(peer: str, is_accepted: bool) -> None:
    access = Access.of(LOCAL, ["10.0.0.0/8", "::ffff:172.16.0.0/120", "fd00::/16"], [])
    assert access.includes(peer) is is_accepted


async def test_a_peer_of_another_network_is_forbidden() -> None:
    async with opened() as port:
        port._access = NobodyAccepted(port._access.networks, port._access.hosts)
        reply = await ask(port, "GET /metrics")
    assert reply.status == 403
    assert "127.0.0.1 is in none of the networks of --admin-allow" in reply.json["error"]


class NobodyAccepted(Access):
    """No address of this machine is beyond loopback for certain, so here loopback is not accepted either."""

    def includes(self, peer: str) -> bool:
        return False


async def test_refused_peers_take_no_connection_of_others() -> None:
    async with opened(limits=AdminLimits(connections=1, refused=1)) as port:
        access = port._access
        async with connected(port) as (reader, writer):
            await until(lambda: port.connections == 1)
            port._access = NobodyAccepted(access.networks, access.hosts)
            for _ in range(3):
                assert (await ask(port, "GET /livez")).status == 403
            port._access = access
            writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert parsed(await reader.read(-1)).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(300)) + b"\r\n",
    ],
)
async def test_what_is_not_http_gets_400(sent: bytes) -> None:
    async with opened() as port, connected(port) as (reader, writer):
        writer.write(sent)
        async with asyncio.timeout(PATIENCE):
            assert parsed(await reader.read(-1)).status == 400
        assert (await ask(port, "GET /livez")).status == 200


async def test_a_client_that_sends_too_much_is_cut_off() -> None:
    limits = AdminLimits(received=1000, seconds=PATIENCE)
    async with opened(limits=limits) as port, connected(port) as (reader, writer):
        writer.write(b"GET /livez HTTP/1.1\r\nX: " + b"x" * 2000)
        assert await rest(reader) == b""


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HTTP/1.1\r\nHost: local"])
async def test_a_client_that_sends_no_request_is_cut_off(sent: bytes) -> None:
    async with opened(limits=AdminLimits(seconds=0.05)) as port, connected(port) as (reader, writer):
        writer.write(sent)
        assert await rest(reader) == b""


async def test_a_scrape_that_never_reads_is_cut_off() -> None:
    async with opened(registry=large(), limits=AdminLimits(seconds=0.3)) as port:
        with socket.socket() as stuck:
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stuck.connect(port.address)
            stuck.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            stuck.setblocking(False)
            await asyncio.get_running_loop().sock_recv(stuck, 1)  # the response has begun
            await until(lambda: port.connections == 0)
            received = await until_closed(stuck)
    assert len(received) < LARGE


async def test_a_scrape_that_never_reads_delays_no_other() -> None:
    async with opened(registry=large(), limits=AdminLimits(connections=3, seconds=PATIENCE)) as port:
        with ExitStack() as sockets:
            for one in [sockets.enter_context(socket.socket()) for _ in range(6)]:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.connect(port.address)
                one.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            reply = await ask(port, "GET /metrics")
            assert (reply.status, len(reply.body) >= LARGE) == (200, True)
            assert port.connections <= 3


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("CONNECT 127.0.0.1:22", 404),
        ("OPTIONS *", 404),
        ("GET http://evil.example/livez", 200),
        ("GET /readyz?verbose=%ff%&verbose", 503),
        ("GET /metrics?name[]=%ff&name[]=", 200),
        ("get /livez", 400),
    ],
)
async def test_odd_request_lines_are_answered(head: str, status: int) -> None:
    async with opened() as port:
        assert (await ask(port, head)).status == status


async def test_a_body_is_not_waited_for() -> None:
    async with opened(limits=AdminLimits(seconds=PATIENCE)) as port:
        reply = await ask(port, "GET /livez", "Transfer-Encoding: chunked")
    assert reply.status == 200


async def test_a_connection_serves_one_request() -> None:
    async with opened() as port, connected(port) as (reader, writer):
        writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
        answer = await rest(reader)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"Connection: close" in answer


async def test_a_second_program_on_the_address_is_told_so() -> None:
    readyz = Readyz()
    async with AsyncExitStack() as first, AsyncExitStack() as second:
        settings = Settings(free_address())
        await open_admin_port(settings, readyz, CollectorRegistry(), first)
        with pytest.raises(CannotServeAdmin, match=f"--admin-listen: {settings.admin_listen}: .*in use"):
            await open_admin_port(settings, readyz, CollectorRegistry(), second)


async def test_a_host_of_another_machine_is_refused() -> None:
    with pytest.raises(CannotServeAdmin, match=r"--admin-listen: 192\.0\.2\.1:0: cannot listen there"):
        async with opened(listen="192.0.2.1:0"):
            pass


async def test_without_a_setting_nothing_listens() -> None:
    async with AsyncExitStack() as cleanups:
        await open_admin_port(Settings(None), Readyz(), CollectorRegistry(), cleanups)


@dataclass(frozen=True)
class Settings:
    admin_listen: str | None
    admin_allow: Sequence[str] = ()
    admin_host: Sequence[str] = ()


async def test_metrics_have_the_format_that_is_asked_for() -> None:
    registry = CollectorRegistry()
    Counter("calls", "Calls.", registry=registry).inc(3)
    async with opened(registry=registry) as port:
        plain = await ask(port, "GET /metrics")
        wanted = "Accept: application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.2"
        other = await ask(port, "GET /metrics", wanted)
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert {one.name for one in text_format(plain.body.decode())} >= {"calls"}
    assert other.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert {one.name for one in openmetrics(other.body.decode())} == {"calls"}


@pytest.mark.parametrize("accept", ["text/plain;version=x", "application/openmetrics-text;version=\xe9.\xe9", ",;=;,"])
async def test_a_strange_accept_gets_the_usual_format(accept: str) -> None:
    async with opened() as port:
        reply = await ask(port, "GET /metrics", f"Accept: {accept}")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize(
    ("accepts", "is_small"), [("gzip", True), ("br, GZIP;q=0.5", True), ("gzip;q=0", False), ("br", False)]
)
async def test_metrics_are_compressed_when_asked_for(accepts: str, is_small: bool) -> None:
    async with opened(registry=large()) as port:
        reply = await ask(port, "GET /metrics", f"Accept-Encoding: {accepts}")
    assert (reply.headers.get("content-encoding") == "gzip") is is_small
    body = gzip.decompress(reply.body) if is_small else reply.body
    assert len(body) >= LARGE


async def test_one_metric_can_be_selected() -> None:
    registry = CollectorRegistry()
    for name in ("one", "two"):
        Counter(name, "Calls.", registry=registry)
    async with opened(registry=registry) as port:
        reply = await ask(port, "GET /metrics?name[]=two_total")
    assert (b"two_total" in reply.body, b"one_total" in reply.body) == (True, False)


async def test_a_collector_that_fails_gets_500_and_no_more() -> None:
    class Failing(Collector):
        def collect(self) -> Sequence[Metric]:
            raise RuntimeError("secret")

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Failing())
    async with opened(registry=registry) as port:
        reply = await ask(port, "GET /metrics")
        assert (await ask(port, "GET /livez")).status == 200
    assert reply.status == 500
    assert b"secret" not in reply.body


LARGE = 8 << 20


def large() -> CollectorRegistry:
    """Return metrics of more bytes than the buffers of a socket take."""
    registry = CollectorRegistry()
    counter = Counter("large", "Large.", ["label"], registry=registry)
    for number in range(8):
        counter.labels(f"{number}" + "x" * (LARGE // 8))
    return registry


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Return all that arrives until the connection ends, also by a reset."""
    async with asyncio.timeout(PATIENCE):
        with suppress(ConnectionResetError):
            return await reader.read(-1)
    return b""


async def until(is_so: Any) -> None:  # noqa: ANN401
    async with asyncio.timeout(PATIENCE):
        while not is_so():  # noqa: ASYNC110 - there is no event of it
            await asyncio.sleep(0.01)


async def until_closed(client: socket.socket) -> bytes:
    loop, received = asyncio.get_running_loop(), b""
    async with asyncio.timeout(PATIENCE):
        with suppress(ConnectionResetError):
            while data := await loop.sock_recv(client, 1 << 20):
                received += data
    return received
