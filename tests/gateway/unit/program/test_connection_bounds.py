"""Which connections close when there are too many, or when they buffer too much."""

from __future__ import annotations

import resource

import pytest
from structlog.testing import capture_logs

from restmap_gateway.http.connections import ConnectionLimits, Connections, most_connections


class Open:
    """Connection that records its closing."""

    def __init__(self) -> None:
        self.is_closed = False

    def abort(self) -> None:
        self.is_closed = True


def opened(connections: Connections, count: int, client: str = "10.0.0.1") -> list[Open]:
    found = [Open() for _ in range(count)]
    assert all(connections.opened(one, client) for one in found)
    return found


def closed(connections: list[Open]) -> list[int]:
    return [number for number, one in enumerate(connections) if one.is_closed]


def test_the_longest_waiting_makes_room_for_a_new_one() -> None:
    connections = Connections(ConnectionLimits(3, 0, 100))
    first = opened(connections, 3)
    opened(connections, 1)
    assert closed(first) == [0]
    opened(connections, 1)
    assert closed(first) == [0, 1]


def test_one_that_was_served_has_waited_from_then_on() -> None:
    connections = Connections(ConnectionLimits(3, 0, 100))
    first = opened(connections, 3)
    connections.is_served(first[0])
    connections.waits(first[0])
    opened(connections, 2)
    assert closed(first) == [1, 2]


def test_one_that_is_served_is_never_closed_for_another() -> None:
    connections = Connections(ConnectionLimits(2, 0, 100))
    first = opened(connections, 2)
    for one in first:
        connections.is_served(one)
    assert not connections.opened(Open(), "10.0.0.2")
    connections.closed(first[0])
    assert connections.opened(Open(), "10.0.0.2")
    assert closed(first) == []


def test_one_client_has_no_more_than_its_share() -> None:
    connections = Connections(ConnectionLimits(10, 2, 100))
    first = opened(connections, 2)
    assert not connections.opened(Open(), "10.0.0.1")
    assert connections.opened(Open(), "10.0.0.2")
    connections.closed(first[0])
    assert connections.opened(Open(), "10.0.0.1")


def test_a_handshake_becomes_a_connection_in_its_place() -> None:
    connections = Connections(ConnectionLimits(2, 0, 100))
    first = opened(connections, 2)
    assert connections.opened(Open(), "10.0.0.1", first[1])
    assert closed(first) == []


def test_unfinished_requests_are_closed_the_oldest_first() -> None:
    connections = Connections(ConnectionLimits(10, 0, 100))
    first = opened(connections, 3)
    for number, unfinished in ((2, 10), (0, 50), (1, 40), (0, 51)):
        connections.holds(first[number], unfinished)
    assert closed(first) == [2]
    connections.holds(first[1], 49)
    assert closed(first) == [2]
    connections.holds(first[1], 50)
    assert closed(first) == [0, 2]


def test_a_request_that_is_whole_holds_nothing() -> None:
    connections = Connections(ConnectionLimits(10, 0, 100))
    first = opened(connections, 3)
    connections.holds(first[0], 100)
    connections.holds(first[0], 0)
    connections.holds(first[1], 60)
    connections.closed(first[1])
    connections.holds(first[2], 100)
    assert closed(first) == []


def test_one_that_was_closed_holds_nothing_any_more() -> None:
    connections = Connections(ConnectionLimits(10, 0, 100))
    first = opened(connections, 2)
    connections.holds(first[0], 101)
    connections.holds(first[0], 200)
    connections.holds(first[1], 100)
    assert closed(first) == [0]


def test_floods_of_connections_are_no_floods_of_log_lines() -> None:
    connections = Connections(ConnectionLimits(1, 0, 100))
    with capture_logs() as logged:
        opened(connections, 1000)
    assert len(logged) < 100


@pytest.mark.parametrize(
    ("descriptors", "wanted", "most"),
    [(20_000, 0, 10_000), (1024, 0, 960), (1024, 500, 500), (1024, 5000, 960), (200, 0, 136), (64, 0, 32)],
)
def test_connections_never_take_all_file_descriptors(
    monkeypatch: pytest.MonkeyPatch, descriptors: int, wanted: int, most: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert most_connections(wanted) == most


def test_no_limit_of_descriptors_is_not_taken_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert most_connections(0) == 10_000


def test_a_refused_look_at_the_limit_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> tuple[int, int]:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(resource, "getrlimit", refuse)
    with capture_logs() as logged:
        assert most_connections(0) == 10_000
    assert [(line["event"], line["what"]) for line in logged] == [("optimisation refused", "RLIMIT_NOFILE")]
