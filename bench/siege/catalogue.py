"""The attacks, and what each finds on the server that it is made on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from bench.siege.attacks import calls, connections, rest, streams
from bench.siege.cast import Budget, Target

_MB = 10**6


class By(Enum):
    """Who attacks."""

    ANYBODY = "without a token"
    PROJECT = "by one project"


@dataclass(frozen=True, slots=True)
class Place:
    """What is attacked."""

    sharings: int = 0
    """Of the attacking project."""
    large_backups: int = 0
    """Of the attacking project, with 65 KB of metadata, each shared once."""
    owned: int = 0
    """Backups of the project that shares where no one attacks."""
    keystone: bool = False
    """Callers have tokens of a Keystone, which takes headers of 8190 bytes; otherwise those of a file."""
    socket: bool = False
    """The server listens on a Unix socket: it then believes what its gateway says of its clients."""
    descriptors: int = 0
    """The most files and connections that each program may have; 0: as usual."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack."""

    title: str
    """As the tables have it."""
    by: By
    run: Callable[[Target, Budget], Awaitable[None]]
    place: Place = Place()
    bytes: int = 50 * _MB
    """The most that it sends."""
    engines: tuple[str, ...] = ("SQLite",)
    fresh: bool = False
    """The others log in, or connect, anew for each call."""


_BOTH = ("SQLite", "PostgreSQL")
_LARGE = Place(large_backups=300)

ATTACKS: Mapping[str, Attack] = {
    "gzip-call": Attack("gzip bomb, unary", By.ANYBODY, connections.gzip_call),
    "gzip-stream": Attack("gzip bomb, stream", By.ANYBODY, connections.gzip_stream),
    "unread-pings": Attack("pings, unread", By.ANYBODY, connections.unread_pings),
    "unfinished-messages": Attack(
        "100 unfinished messages of 4 MiB", By.ANYBODY, connections.unfinished_messages, bytes=450 * _MB
    ),
    "rapid-resets": Attack("rapid resets", By.ANYBODY, connections.rapid_resets),
    "endless-headers": Attack("headers without end", By.ANYBODY, connections.endless_headers, bytes=200 * _MB),
    "idle-connections": Attack(
        "idle connections, 256 descriptors",
        By.ANYBODY,
        connections.idle_connections,
        Place(descriptors=256),
        fresh=True,
    ),
    "unread-stream": Attack("multiplexed stream, unread", By.ANYBODY, streams.no_token, bytes=23 * _MB),
    "health": Attack("2 000 health checks at once", By.ANYBODY, calls.health),
    "bad-tokens": Attack(
        "2 000 bad tokens from the same address", By.ANYBODY, rest.bad_tokens, Place(socket=True), bytes=300_000
    ),
    "long-tokens": Attack(
        "tokens of 8 181 bytes, Keystone", By.ANYBODY, rest.long_tokens, Place(keystone=True), fresh=True
    ),
    "members": Attack("bodies of 340 000 members", By.ANYBODY, rest.members),
    "malformed": Attack("malformed requests with tokens", By.ANYBODY, rest.malformed),
    "slow-headers": Attack("slow headers", By.ANYBODY, rest.slow_headers),
    "unread-pages": Attack(
        "multiplexed stream of large pages, unread", By.PROJECT, streams.reader, _LARGE, bytes=_MB // 4
    ),
    "lists-by-name": Attack(
        "300 lists by name of 10 000", By.PROJECT, rest.lists_by_name, Place(sharings=10_000), engines=_BOTH
    ),
    "shares": Attack("300 sharers", By.PROJECT, calls.shares, engines=_BOTH),
    "large-lists": Attack("6 readers of pages of 18 MiB", By.PROJECT, rest.large_lists, _LARGE, engines=_BOTH),
    "unread-lists": Attack("30 that do not read them", By.PROJECT, rest.unread_lists, _LARGE, engines=_BOTH),
    "page-tokens": Attack("page tokens made up", By.PROJECT, calls.page_tokens, Place(sharings=1000), engines=_BOTH),
    "large-refusal": Attack("refused calls of 4 MB", By.PROJECT, calls.large_refusal),
}
