"""The caller's token and project, from explicit settings, variables, clouds.yaml and Keystone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from backupsharing.commands.login import CannotLogIn, Identity, NoCredentials, identify
from tests.support.certificates import Certificates
from tests.support.ports import free_address
from tests.support.programs import PATIENCE

TOLD = {
    "token": {
        "methods": ["password"],
        "user": {"id": "u", "name": "gina", "domain": {"id": "default", "name": "Default"}},
        "project": {"id": "p", "name": "giver", "domain": {"id": "default", "name": "Default"}},
        "expires_at": "2999-01-01T00:00:00.000000Z",
        "issued_at": "2026-11-24T00:00:00.000000Z",
    }
}
USER = {"OS_USERNAME": "gina", "OS_PASSWORD": "secret", "OS_PROJECT_NAME": "giver"}


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("OS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    # openstacksdk computes its other places for files when it is imported.
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    monkeypatch.setenv("OS_CLIENT_SECURE_FILE", str(tmp_path / "secure.yaml"))


def identified(variables: Mapping[str, str], project: str = "", token: str = "", timeout: float = 20.0) -> Identity:
    """Return the identity of a caller with these variables in the environment."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        return identify(project, token, has_certificate=False, timeout=timeout)


def clouds(**cloud: object) -> None:
    """Write a clouds.yaml with one cloud, ``mine``."""
    Path("clouds.yaml").write_text(yaml.safe_dump({"clouds": {"mine": cloud}}), encoding="utf-8")


@contextmanager
def keystone(
    answer: Callable[[web.Request], web.Response], tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, list[object]]]:
    """Serve a Keystone; yield the URL and the list of received request bodies."""
    sent: list[object] = []

    async def discover(request: web.Request) -> web.Response:
        url = f"{request.scheme}://{request.host}/v3/"
        version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": url}]}
        body = {"version": version} if "v3" in request.path else {"versions": {"values": [version]}}
        return web.json_response(body, status=200 if "v3" in request.path else 300)

    async def take(request: web.Request) -> web.Response:
        sent.append(await request.json())
        return answer(request)

    async def serve(address: Future[str], stop: asyncio.Event) -> None:
        app = web.Application()
        app.router.add_post("/v3/auth/tokens", take)
        for path in ("/", "/v3", "/v3/"):
            app.router.add_get(path, discover)
        runner = web.AppRunner(app)
        await runner.setup()
        host, _, port = free_address().rpartition(":")
        await web.TCPSite(runner, host, int(port), ssl_context=tls).start()
        address.set_result(f"{'https' if tls else 'http'}://{host}:{port}")
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
        ("", "t", {"OS_AUTH_URL": "http://k"}, "OS_PROJECT_ID"),
        ("p", "", {"OS_AUTH_URL": "http://k"}, "OS_USERNAME and OS_PASSWORD"),
        ("p", "", {"OS_AUTH_URL": "http://k", "OS_USERNAME": "gina"}, "OS_PASSWORD missing"),
        ("p", "", {"OS_AUTH_URL": "http://k", "OS_USER_ID": "u"}, "OS_PASSWORD missing"),
        ("p", "", {"OS_AUTH_URL": "http://k", "OS_APPLICATION_CREDENTIAL_ID": "c"}, "CREDENTIAL_SECRET missing"),
        ("", "", {"OS_AUTH_URL": "http://k", **USER, "OS_PROJECT_NAME": ""}, "OS_PROJECT_NAME"),
    ],
)
def test_what_is_missing_is_named(project: str, token: str, variables: dict[str, str], missing: str) -> None:
    with pytest.raises(NoCredentials, match=missing):
        identified(variables, project, token)


def test_keystone_that_is_not_there_is_named() -> None:
    address = free_address()
    with pytest.raises(CannotLogIn, match=f"http://{address}.*refused"):
        identified({"OS_AUTH_URL": f"http://{address}", **USER})


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://k", "k:5000", "//k"])
def test_only_http_is_spoken_to_keystone(url: str) -> None:
    with pytest.raises(CannotLogIn, match="http://"):
        identified({"OS_AUTH_URL": url, **USER})


@pytest.mark.parametrize("url", ["http://127.0.0.1:abc/v3", "http://[::1/v3", "http://.example/v3", "http://a b/v3"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(CannotLogIn, match="OS_AUTH_URL"):
        identified({"OS_AUTH_URL": url, **USER})


@pytest.mark.parametrize(
    "said", [b"\x00\x00\x12\x04", b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"]
)
def test_what_speaks_no_whole_http_is_told(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer_each, args=(server, said))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(CannotLogIn, match="no Keystone"):
            identified({"OS_AUTH_URL": url, **USER})
        socket.create_connection(server.getsockname()).close()
        thread.join(PATIENCE)


def answer_each(server: socket.socket, said: bytes) -> None:
    """Send these bytes to each client; end when a client sends nothing."""
    while True:
        connection, _ = server.accept()
        with connection:
            if not connection.recv(65536):
                return
            connection.sendall(said)
            connection.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while connection.recv(65536):
                    pass


def test_keystone_has_no_longer_to_answer_than_the_call() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        variables = {"OS_AUTH_URL": f"http://127.0.0.1:{silent.getsockname()[1]}", **USER}
        began = time.monotonic()
        with pytest.raises(CannotLogIn, match="timed out"):
            identified(variables, timeout=0.3)
        assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize(("content", "reported"), [(None, "No such file"), ("no certificate", "not a PEM certificate")])
def test_a_ca_file_that_will_not_do_is_told(tmp_path: Path, content: str | None, reported: str) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    variables = {"OS_AUTH_URL": "https://127.0.0.1:1", "OS_CACERT": str(file), **USER}
    with pytest.raises(CannotLogIn, match=f"OS_CACERT: {file}: {reported}"):
        identified(variables)


@pytest.mark.parametrize(
    ("answer", "reported"),
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
    answer: Callable[[web.Request], web.Response], reported: str
) -> None:
    with keystone(answer) as (url, _), pytest.raises(CannotLogIn, match=reported) as raised:
        identified({"OS_AUTH_URL": url, **USER})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("tail", ["", "/", "/v3", "/v3/"])
def test_a_token_is_got_with_or_without_a_version_in_the_url(tail: str) -> None:
    with keystone(lets_in) as (url, _):
        got = identified({"OS_AUTH_URL": url + tail, **USER})
    assert got == Identity("p", "fresh")
    assert "fresh" not in repr(got)


def test_names_and_domains_are_sent_as_the_variables_say() -> None:
    named = {"OS_USER_DOMAIN_NAME": "people", "OS_PROJECT_DOMAIN_NAME": "projects"}
    by_id = {"OS_USER_DOMAIN_NAME": "", "OS_USER_DOMAIN_ID": "default", "OS_PROJECT_DOMAIN_ID": "default"}
    with keystone(lets_in) as (url, sent):
        for project, more in (("", {}), ("", named), ("", by_id), ("p", {})):
            identified({"OS_AUTH_URL": url, **USER, **more}, project)

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
    assert identified({"OS_AUTH_URL": "http://127.0.0.1:1", **USER}, "p", "t").token == "t"
    assert identify("p", "", has_certificate=True) == Identity("p", "")


def scoped(identity: object, **project: object) -> object:
    return {"auth": {"identity": identity, "scope": {"project": project}}}


def by_password(**user: object) -> object:
    return {"methods": ["password"], "password": {"user": {**user, "password": "secret"}}}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"OS_USER_ID": "u", "OS_PROJECT_ID": "p"}, scoped(by_password(id="u"), id="p")),
        (
            {"OS_USERNAME": "gina", "OS_TENANT_NAME": "giver", "OS_DEFAULT_DOMAIN": "d"},
            scoped(by_password(name="gina", domain={"id": "d"}), name="giver", domain={"id": "d"}),
        ),
        (
            {"OS_USERNAME": "gina", "OS_TENANT_ID": "p", "OS_DEFAULT_DOMAIN_NAME": "people"},
            scoped(by_password(name="gina", domain={"name": "people"}), id="p"),
        ),
        (
            {"OS_USERNAME": "gina", "OS_PROJECT_NAME": "giver", "OS_DOMAIN_NAME": "both"},
            scoped(by_password(name="gina", domain={"name": "both"}), name="giver", domain={"name": "both"}),
        ),
        (
            {"OS_USERNAME": "gina", "OS_PROJECT_ID": "p", "OS_USER_DOMAIN_ID": "d", "OS_AUTH_TYPE": "v3password"},
            scoped(by_password(name="gina", domain={"id": "d"}), id="p"),
        ),
    ],
)
def test_variables_mean_what_openstack_says(variables: dict[str, str], expected: object) -> None:
    with keystone(lets_in) as (url, sent):
        assert identified({"OS_AUTH_URL": url, "OS_PASSWORD": "secret", **variables}) == Identity("p", "fresh")
    assert sent == [expected]


APPLICATION = {"OS_APPLICATION_CREDENTIAL_ID": "c", "OS_APPLICATION_CREDENTIAL_SECRET": "secret"}
BY_APPLICATION = {
    "auth": {
        "identity": {"methods": ["application_credential"], "application_credential": {"id": "c", "secret": "secret"}}
    }
}


@pytest.mark.parametrize("kind", [{}, {"OS_AUTH_TYPE": "v3applicationcredential"}, {"OS_REGION_NAME": ""}])
@pytest.mark.parametrize("project", ["", "p"])
def test_application_credentials_log_in(kind: dict[str, str], project: str) -> None:
    with keystone(lets_in) as (url, sent):
        assert identified({"OS_AUTH_URL": url, **APPLICATION, **kind}, project) == Identity("p", "fresh")
    assert sent == [BY_APPLICATION]


def test_credentials_of_another_project_are_refused() -> None:
    with keystone(lets_in) as (url, _), pytest.raises(CannotLogIn, match="for the project p, not for --project q"):
        identified({"OS_AUTH_URL": url, **APPLICATION}, "q")


def test_a_token_without_a_project_is_exchanged_for_one_with() -> None:
    with keystone(lets_in) as (url, sent):
        assert identified({"OS_AUTH_URL": url, **USER}, "", "mine") == Identity("p", "fresh")
    by_token = {"methods": ["token"], "token": {"id": "mine"}}
    assert sent == [scoped(by_token, name="giver", domain={"name": "Default"})]


def test_a_token_of_no_project_is_told() -> None:
    body = {"token": {name: value for name, value in TOLD["token"].items() if name != "project"}}

    def unscoped(_: web.Request) -> web.Response:
        return web.json_response(body, status=201, headers={"X-Subject-Token": "fresh"})

    with keystone(unscoped) as (url, _), pytest.raises(CannotLogIn, match="belongs to no project"):
        identified({"OS_AUTH_URL": url, **APPLICATION})


def test_a_cloud_of_clouds_yaml_logs_in() -> None:
    with keystone(lets_in) as (url, sent):
        credential = {"application_credential_id": "c", "application_credential_secret": "secret"}
        clouds(auth_type="v3applicationcredential", auth={"auth_url": url, **credential})
        assert identified({"OS_CLOUD": "mine"}) == Identity("p", "fresh")
        password = {"username": "gina", "password": "secret", "project_name": "giver", "user_domain_name": "people"}
        clouds(auth={"auth_url": url, **password, "project_domain_name": "projects"})
        assert identified({"OS_CLOUD": "mine"}) == Identity("p", "fresh")
        assert identified({"OS_CLOUD": "mine"}, "p") == Identity("p", "fresh")
    gina = by_password(name="gina", domain={"name": "people"})
    assert sent == [
        BY_APPLICATION,
        scoped(gina, name="giver", domain={"name": "projects"}),
        scoped(gina, id="p"),
    ]


def test_secrets_may_be_in_a_file_of_their_own() -> None:
    with keystone(lets_in) as (url, sent):
        clouds(auth={"auth_url": url, "username": "gina", "project_id": "p"})
        secure = {"clouds": {"mine": {"auth": {"password": "secret"}}}}
        Path("secure.yaml").write_text(yaml.safe_dump(secure), encoding="utf-8")
        assert identified({"OS_CLOUD": "mine"}) == Identity("p", "fresh")
    assert sent == [scoped(by_password(name="gina", domain={"name": "Default"}), id="p")]


@pytest.mark.parametrize(
    ("content", "reported"),
    [
        ("clouds: {other: {auth: {}}}", "Cloud mine was not found"),
        ("clouds: [", "Cloud mine was not found"),
        ("clouds: {mine: {auth_type: v9magic, auth: {auth_url: 'http://k'}}}", "no login of the type 'v9magic'"),
        ("clouds: {mine: {auth: {username: gina, project_id: p}}}", "OS_PASSWORD missing"),
        ("clouds: {mine: {auth: text}}", "cannot be read"),
    ],
)
def test_a_cloud_that_will_not_do_is_told(content: str, reported: str) -> None:
    Path("clouds.yaml").write_text(content, encoding="utf-8")
    with pytest.raises((CannotLogIn, NoCredentials), match=reported):
        identified({"OS_CLOUD": "mine"})


def test_a_private_ca_is_trusted(tmp_path: Path) -> None:
    certificates, context = Certificates(tmp_path), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server, key = certificates.issue("localhost", "localhost", "127.0.0.1")
    context.load_cert_chain(server, key)
    with keystone(lets_in, context) as (url, _):
        variables = {"OS_AUTH_URL": url.replace("127.0.0.1", "localhost"), **USER}
        assert identified({**variables, "OS_CACERT": str(certificates.ca)}) == Identity("p", "fresh")
        clouds(
            cacert=str(certificates.ca),
            auth={
                "auth_url": variables["OS_AUTH_URL"],
                "username": "gina",
                "password": "secret",
                "project_id": "p",
            },
        )
        assert identified({"OS_CLOUD": "mine"}) == Identity("p", "fresh")
        with pytest.raises(CannotLogIn, match="certificate verify failed"):
            identified(variables)


def test_without_the_extra_a_login_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "backupsharing.commands.keystone", None)
    with pytest.raises(CannotLogIn, match=r"backupsharing-client\[commands\]"):
        identified({"OS_AUTH_URL": "http://k", **USER})
