"""The caller's token and project, from explicit settings and from Keystone."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web

from backupsharing.commands.login import CannotLogIn, Identity, NobodyKnown, identify
from tests.support.ports import free_address
from tests.support.programs import PATIENCE

TOLD = {"token": {"project": {"id": "p"}}}
USER = {"OS_USERNAME": "gina", "OS_PASSWORD": "secret", "OS_PROJECT_NAME": "giver"}


@contextmanager
def keystone(answer: Callable[[web.Request], web.Response]) -> Iterator[tuple[str, list[object]]]:
    """Serve ``/v3/auth/tokens``; yield the URL and the list of received request bodies."""
    sent: list[object] = []

    async def take(request: web.Request) -> web.Response:
        sent.append(await request.json())
        return answer(request)

    async def serve(address: Future[str], stop: asyncio.Event) -> None:
        app = web.Application()
        app.router.add_post("/v3/auth/tokens", take)
        runner = web.AppRunner(app)
        await runner.setup()
        host, _, port = free_address().rpartition(":")
        await web.TCPSite(runner, host, int(port)).start()
        address.set_result(f"http://{host}:{port}")
        await stop.wait()
        await runner.cleanup()

    loop, stop, address = asyncio.new_event_loop(), asyncio.Event(), Future[str]()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(address, stop),))
    thread.start()
    try:
        yield address.result(PATIENCE), sent
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE)
        loop.close()


def lets_in(_: web.Request) -> web.Response:
    return web.json_response(TOLD, status=201, headers={"X-Subject-Token": "fresh"})


@pytest.mark.parametrize(
    ("project", "token", "variables", "missing"),
    [
        ("p", "", {}, "OS_TOKEN"),
        ("", "t", {}, "OS_PROJECT_ID"),
        ("", "t", {"OS_AUTH_URL": "http://k", **USER}, "OS_PROJECT_ID"),
        ("p", "", {"OS_AUTH_URL": "http://k"}, "OS_USERNAME and OS_PASSWORD"),
        ("p", "", {"OS_AUTH_URL": "http://k", "OS_USERNAME": "gina"}, "OS_PASSWORD missing"),
        ("", "", {"OS_AUTH_URL": "http://k", **USER, "OS_PROJECT_NAME": ""}, "OS_PROJECT_NAME"),
    ],
)
def test_what_is_missing_is_named(project: str, token: str, variables: dict[str, str], missing: str) -> None:
    with pytest.raises(NobodyKnown, match=missing):
        identify(project, token, variables, has_certificate=False)


def test_keystone_that_is_not_there_is_named() -> None:
    address = free_address()
    with pytest.raises(CannotLogIn, match=f"http://{address}.*refused"):
        identify("", "", {"OS_AUTH_URL": f"http://{address}", **USER}, has_certificate=False)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://k", "k:5000", "//k"])
def test_only_http_is_spoken_to_keystone(url: str) -> None:
    with pytest.raises(CannotLogIn, match="http://"):
        identify("", "", {"OS_AUTH_URL": url, **USER}, has_certificate=False)


@pytest.mark.parametrize("url", ["http://127.0.0.1:abc/v3", "http://[::1/v3", "http://.example/v3", "http://a b/v3"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(CannotLogIn, match="OS_AUTH_URL"):
        identify("", "", {"OS_AUTH_URL": url, **USER}, has_certificate=False)


@pytest.mark.parametrize(
    "said", [b"\x00\x00\x12\x04", b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"]
)
def test_what_speaks_no_whole_http_is_told(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_once, args=(server, said))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(CannotLogIn, match="no Keystone"):
            identify("", "", {"OS_AUTH_URL": url, **USER}, has_certificate=False)
        thread.join(PATIENCE)


def answer_once(server: socket.socket, said: bytes) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


def test_keystone_has_no_longer_to_answer_than_the_call() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        variables = {"OS_AUTH_URL": f"http://127.0.0.1:{silent.getsockname()[1]}", **USER}
        began = time.monotonic()
        with pytest.raises(CannotLogIn, match="timed out"):
            identify("", "", variables, has_certificate=False, timeout=0.3)
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(("content", "told"), [(None, "No such file"), ("no certificate", "not a PEM certificate")])
def test_a_ca_file_that_will_not_do_is_told(tmp_path: Path, content: str | None, told: str) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    variables = {"OS_AUTH_URL": "https://127.0.0.1:1", "OS_CACERT": str(file), **USER}
    with pytest.raises(CannotLogIn, match=f"OS_CACERT: {file}: {told}"):
        identify("", "", variables, has_certificate=False)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda _: web.json_response({"error": {"message": "wrong password"}}, status=401), "gina: wrong password"),
        (lambda _: web.Response(text="<html>", status=503), "status 503"),
        (lambda _: web.Response(text="<html>", status=201), "no Keystone"),
        (lambda _: web.json_response({"token": {}}, status=201), "no Keystone"),
        (lambda _: web.json_response([], status=201), "no Keystone"),
        (lambda _: web.json_response(TOLD, status=201), "no Keystone"),
    ],
)
def test_an_answer_without_a_token_is_reported_not_the_password(
    answer: Callable[[web.Request], web.Response], told: str
) -> None:
    with keystone(answer) as (url, _), pytest.raises(CannotLogIn, match=told) as raised:
        identify("", "", {"OS_AUTH_URL": url, **USER}, has_certificate=False)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("tail", ["", "/", "/v3", "/v3/"])
def test_a_token_is_got_with_or_without_a_version_in_the_url(tail: str) -> None:
    with keystone(lets_in) as (url, _):
        got = identify("", "", {"OS_AUTH_URL": url + tail, **USER}, has_certificate=False)
    assert got == Identity("p", "fresh")
    assert "fresh" not in repr(got)


def test_names_and_domains_are_sent_as_the_variables_say() -> None:
    named = {"OS_USER_DOMAIN_NAME": "people", "OS_PROJECT_DOMAIN_NAME": "projects"}
    by_id = {"OS_USER_DOMAIN_NAME": "", "OS_USER_DOMAIN_ID": "default", "OS_PROJECT_DOMAIN_ID": "default"}
    with keystone(lets_in) as (url, sent):
        for project, more in (("", {}), ("", named), ("", by_id), ("p", {})):
            identify(project, "", {"OS_AUTH_URL": url, **USER, **more}, has_certificate=False)

    def body(user_domain: dict[str, str], scope: dict[str, object]) -> object:
        user = {"name": "gina", "domain": user_domain, "password": "secret"}
        identity = {"methods": ["password"], "password": {"user": user}}
        return {"auth": {"identity": identity, "scope": {"project": scope}}}

    assert sent == [
        body({"name": "Default"}, {"name": "giver", "domain": {"name": "Default"}}),
        body({"name": "people"}, {"name": "giver", "domain": {"name": "projects"}}),
        body({"id": "default"}, {"name": "giver", "domain": {"id": "default"}}),
        body({"name": "Default"}, {"id": "p"}),
    ]


def test_a_token_or_a_certificate_needs_no_keystone() -> None:
    assert identify("p", "t", {"OS_AUTH_URL": "http://127.0.0.1:1", **USER}, has_certificate=False).token == "t"
    assert identify("p", "", {}, has_certificate=True) == Identity("p", "")
