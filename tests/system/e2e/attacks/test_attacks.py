"""Unauthenticated attacks on the gRPC port: real processes, raw connections, and memory bounds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from backupsharing.v2.backup_sharing_pb2 import CountSharingsRequest, CountSharingsResponse
from multiplex.v1 import multiplex_pb2 as mx
from tests.support.attacks import compression, health, http2, multiplex
from tests.support.attacks.measured import Memory
from tests.support.attacks.wire import MIB, Attack
from tests.support.ports import free_address
from tests.support.programs import PATIENCE, Program, Programs
from tests.support.system import ADMIN_TOKEN, DOCUMENTED_GIVER, READER_TOKEN, Project, write_tokens

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"), pytest.mark.resilience]

COUNT = "/backupsharing.v2.BackupSharingService/CountSharings"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
REQUEST = CountSharingsRequest(project_id=DOCUMENTED_GIVER).SerializeToString()
MOST = 150 * MIB


class Victim:
    """Server under attack, with another client."""

    def __init__(self, programs: Programs, folder: Path) -> None:
        write_tokens(folder, [Project(DOCUMENTED_GIVER)])
        self.address = free_address()
        self.server: Program = programs.server(self.address, folder)
        self.channel = grpc.insecure_channel(self.address)
        self._count = self.channel.unary_unary(COUNT)
        self.answers()
        self.memory = Memory(self.server.pid)
        self._logged_before = len(self.server.printed)

    def answers(self) -> None:
        """Assert that the other client gets a reply."""
        answer = self._count(REQUEST, metadata=(("x-auth-token", ADMIN_TOKEN),), timeout=PATIENCE)
        assert CountSharingsResponse.FromString(answer) == CountSharingsResponse(count=0)

    @property
    def logged(self) -> str:
        return self.server.printed[self._logged_before :]


@pytest.fixture
def victim(programs: Programs, tmp_path: Path) -> Iterator[Victim]:
    victim = Victim(programs, tmp_path)
    yield victim
    victim.channel.close()


ATTACKS: dict[str, Callable[[str], Attack]] = {
    "pings that are not read": lambda address: http2.unread_pings(address, connections=2),
    "settings that are not read": lambda address: http2.settings_flood(address, connections=2),
    "frames with nothing in them": lambda address: http2.empty_frames(address, COUNT),
    "priorities": lambda address: http2.priority_flood(address),
    "rapid resets": lambda address: http2.rapid_resets(address, COUNT, calls=50_000),
    "unfinished messages": lambda address: http2.unfinished_messages(address, COUNT, seconds=3),
    "unfinished messages on several connections": lambda address: http2.unfinished_messages(
        address, COUNT, connections=3, seconds=3
    ),
    "one message without an end": lambda address: http2.unfinished_messages(
        address, COUNT, streams=1, size=400 * MIB, seconds=3
    ),
    "an unfinished check": lambda address: http2.unfinished_messages(
        address, health.CHECK, streams=1, size=400 * MIB, seconds=3
    ),
    "an unfinished frame": lambda address: http2.unfinished_messages(
        address, multiplex.METHOD, streams=4, size=200 * MIB, seconds=3
    ),
    "an unfinished reflection": lambda address: http2.unfinished_messages(
        address, REFLECTION, streams=4, size=200 * MIB, seconds=3
    ),
    "headers without an end": lambda address: http2.endless_headers(address, COUNT),
    "a header bomb without an end": lambda address: http2.endless_bomb(address, COUNT),
    "calls without a message": lambda address: http2.open_calls(address, COUNT, connections=5, streams=2000),
    "answers that may not be sent": lambda address: http2.closed_windows(address, COUNT, [REQUEST] * 2000),
    "connections that say nothing": lambda address: http2.idle_connections(address, connections=1500, preface=False),
    "connections without calls": lambda address: http2.idle_connections(address, connections=800, preface=True),
    "checks of the health": lambda address: health.asking(address, health.CHECK, calls=2000, connections=5),
    "watches of the health": lambda address: health.asking(address, health.WATCH, calls=2000, connections=5),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_takes_little_memory_and_no_log(victim: Victim, name: str) -> None:
    with ATTACKS[name](victim.address) as attack:
        victim.answers()
        assert victim.memory.peak < MOST
        assert len(victim.logged) < max(attack.sent, 64 * 1024)


@pytest.mark.parametrize("path", [COUNT, health.CHECK, multiplex.METHOD, REFLECTION])
def test_compressed_requests_are_refused_and_not_inflated(victim: Victim, path: str) -> None:
    bombs = {gzip: compression.bomb(512 * MIB, gzip=gzip) for gzip in (True, False)}
    for algorithm in compression.ALGORITHMS:
        with compression.inflating(victim.address, path, algorithm, bombs["gzip" in algorithm]):
            victim.answers()
    assert victim.memory.peak < MOST
    assert all(line.startswith("{") for line in victim.logged.splitlines())


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_client_that_compresses_is_told_so(victim: Victim, algorithm: grpc.Compression) -> None:
    count = grpc.insecure_channel(victim.address, compression=algorithm).unary_unary(COUNT)
    with pytest.raises(grpc.RpcError) as refused:
        count(REQUEST * 100, timeout=PATIENCE)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined] # also a call
    assert "is disabled" in refused.value.details()  # type: ignore[attr-defined]


@pytest.mark.parametrize("token", ["", READER_TOKEN])
def test_a_stream_whose_answers_are_not_read_is_not_read(victim: Victim, token: str) -> None:
    with multiplex.unread_answers(victim.address, COUNT, REQUEST, token, streams=4) as attack:
        victim.answers()
        # The number of bytes sent means nothing: system buffers take tens of megabytes per connection.
        assert victim.memory.peak < MOST
        assert len(victim.logged) < max(attack.sent, 64 * 1024)


def test_frames_of_very_many_calls_take_little(victim: Victim) -> None:
    many = mx.MultiplexRequest(calls=[mx.Call(id=index) for index in range(50_000)]).SerializeToString()
    ids = mx.MultiplexRequest(cancelled_ids=range(100_000)).SerializeToString()
    with multiplex.UnreadStreams(victim.address, [many, ids], streams=8) as attack:
        assert set(attack.codes()) == {grpc.StatusCode.INVALID_ARGUMENT}
        victim.answers()
        assert victim.memory.peak < MOST


def test_connections_beyond_the_bound_are_closed(programs: Programs, tmp_path: Path) -> None:
    write_tokens(tmp_path, [Project(DOCUMENTED_GIVER)])
    address = free_address()
    programs.server(address, tmp_path, "--max-connections", "20")
    with http2.idle_connections(address, connections=20, preface=True) as held:
        for connection in held.connections:
            assert connection.read()
        with http2.idle_connections(address, connections=1, preface=True) as more:
            assert more.connections[0].is_closed()
    with grpc.insecure_channel(address) as channel:
        answer = channel.unary_unary(COUNT)(
            REQUEST, metadata=(("x-auth-token", READER_TOKEN),), wait_for_ready=True, timeout=PATIENCE
        )
    assert answer == b""
