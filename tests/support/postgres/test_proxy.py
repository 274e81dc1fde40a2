"""Network faults of the proxy: a client sees each fault, and each fault can be ended."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.postgres.proxy import TcpProxy

pytestmark = pytest.mark.resilience


class Echo:
    """Server that echoes and records its input, one connection after the other."""

    def __init__(self) -> None:
        self.received = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        self._listener.close()

    def _serve(self) -> None:
        try:
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    self._answer(connection)
        except OSError:
            return  # the server was closed

    def _answer(self, connection: socket.socket) -> None:
        try:
            while data := connection.recv(65536):
                self.received += data
                connection.sendall(data)
        except ConnectionError:
            return


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[TcpProxy]:
    with TcpProxy(echo.address) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[socket.socket]:
    with connected(proxy) as client:
        yield client


def connected(proxy: TcpProxy) -> socket.socket:
    host, _, port = proxy.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=60)


def ask(client: socket.socket, question: bytes = b"hello") -> bytes:
    client.sendall(question)
    answer = b""
    while len(answer) < len(question):
        data = client.recv(65536)
        assert data, "the connection was closed"
        answer += data
    return answer


def test_bytes_are_forwarded_both_ways(client: socket.socket) -> None:
    question = bytes(range(256)) * 10_000
    sender = threading.Thread(target=client.sendall, args=(question,))
    sender.start()
    answer = b""
    while len(answer) < len(question):
        answer += client.recv(65536)
    sender.join()
    assert answer == question


def test_the_end_of_either_side_reaches_the_other(client: socket.socket) -> None:
    client.sendall(b"hello")
    client.shutdown(socket.SHUT_WR)
    answer = b""
    while data := client.recv(65536):
        answer += data
    assert answer == b"hello"


def test_a_cut_resets_all_connections_and_new_ones_are_accepted(proxy: TcpProxy, client: socket.socket) -> None:
    ask(client)
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with connected(proxy) as another:
        assert ask(another) == b"hello"


def test_a_proxy_that_refuses_keeps_its_connections(proxy: TcpProxy, client: socket.socket) -> None:
    ask(client)
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    assert ask(client) == b"hello"
    client.close()
    proxy.accept()
    with connected(proxy) as another:
        assert ask(another) == b"hello"


def test_a_client_of_a_target_that_is_away_is_reset() -> None:
    with TcpProxy("127.0.0.1:1") as proxy:
        assert is_reset(proxy)


def is_reset(proxy: TcpProxy) -> bool:
    """Return whether a connection is reset, on connecting or on reading."""
    try:
        with connected(proxy) as client:
            return client.recv(1) != b""
    except ConnectionResetError:
        return True


def test_a_frozen_proxy_accepts_and_says_nothing_until_it_thaws(proxy: TcpProxy, client: socket.socket) -> None:
    ask(client)
    proxy.freeze()
    client.sendall(b"one")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    with connected(proxy):  # the connection is accepted
        pass
    client.settimeout(60)
    proxy.thaw()
    assert client.recv(3) == b"one"


def test_what_was_frozen_when_a_connection_was_cut_never_arrives(
    echo: Echo, proxy: TcpProxy, client: socket.socket
) -> None:
    ask(client, b"before")
    proxy.freeze()
    client.sendall(b"frozen")
    proxy.cut()
    proxy.thaw()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with connected(proxy) as another:
        ask(another, b"after")
    assert echo.received == b"beforeafter"


def test_a_delay_is_added_to_each_way(proxy: TcpProxy, client: socket.socket) -> None:
    ask(client)
    proxy.delay(0.1)
    begin = time.monotonic()
    ask(client)
    assert time.monotonic() - begin >= 0.2


def test_a_request_whose_answer_is_swallowed_arrives(echo: Echo, proxy: TcpProxy, client: socket.socket) -> None:
    ask(client, b"first ")
    proxy.swallow_answers()
    client.sendall(b"second ")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert proxy.lost == 1
    proxy.swallow_nothing()
    with connected(proxy) as another:
        ask(another, b"third")
    assert echo.received == b"first second third"


def test_a_request_that_is_swallowed_does_not_arrive(echo: Echo, proxy: TcpProxy, client: socket.socket) -> None:
    ask(client, b"first ")
    proxy.swallow_requests(b"second")
    client.sendall(b"second ")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert proxy.lost == 1
    with connected(proxy) as another:
        ask(another, b"third")
    assert echo.received == b"first third"


def test_only_so_many_are_swallowed_of_those_that_have_a_text(proxy: TcpProxy) -> None:
    proxy.swallow_answers(b"yes", times=2)
    outcomes = []
    for question in (b"no", b"yes", b"no", b"oh yes", b"yes"):
        with connected(proxy) as client:
            try:
                outcomes.append(ask(client, question))
            except ConnectionResetError:
                outcomes.append(b"reset")
    assert outcomes == [b"no", b"reset", b"no", b"reset", b"yes"]


def test_a_text_that_comes_in_two_parts_is_found(proxy: TcpProxy, client: socket.socket) -> None:
    proxy.swallow_requests(b"COMMIT")
    ask(client, b"x COM")
    client.sendall(b"MIT")
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def test_a_closed_proxy_refuses_and_leaves_no_thread(echo: Echo) -> None:
    proxy = TcpProxy(echo.address)
    proxy.freeze()
    with connected(proxy):
        proxy.close()
        proxy.close()
    with pytest.raises(ConnectionRefusedError):
        connected(proxy)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("proxy")]


async def test_a_test_with_a_loop_of_its_own_can_use_it(proxy: TcpProxy) -> None:
    host, _, port = proxy.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


def rows(url: str) -> list[tuple[int]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT number FROM numbers").fetchall()


@pytest.mark.parametrize("arrives", [True, False])
def test_a_commit_is_made_and_not_acknowledged_or_never_made(
    postgres_proxy: TcpProxy, database_url: str, arrives: bool
) -> None:
    with psycopg.connect(database_url) as direct:
        direct.execute("CREATE TABLE numbers (number int)")
    with psycopg.connect(postgres_proxy.through(database_url)) as connection:
        if arrives:
            postgres_proxy.swallow_answers(b"COMMIT", times=1)
        else:
            postgres_proxy.swallow_requests(b"COMMIT", times=1)
        connection.execute("INSERT INTO numbers VALUES (1)")
        with pytest.raises(psycopg.OperationalError):
            connection.commit()
    assert rows(database_url) == ([(1,)] if arrives else [])
    assert postgres_proxy.lost == 1
    assert rows(postgres_proxy.through(database_url)) == rows(database_url)


def insert_in_a_pipeline(url: str, number: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection, connection.pipeline():
        connection.execute("BEGIN")
        for _ in range(5):
            connection.execute("INSERT INTO numbers VALUES (%s)", [number])
        connection.pgconn.send_flush_request()
        connection.pgconn.flush()  # so that replies arrive while the commit is in progress
        connection.execute("COMMIT")


def test_all_statements_of_a_pipeline_precede_the_lost_answers(postgres_proxy: TcpProxy, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as direct:
        direct.execute("CREATE TABLE numbers (number int)")
    for number in range(50):
        postgres_proxy.swallow_answers(b"COMMIT", times=1)
        with pytest.raises(psycopg.OperationalError):
            insert_in_a_pipeline(postgres_proxy.through(database_url), number)
    assert len(rows(database_url)) == 250
