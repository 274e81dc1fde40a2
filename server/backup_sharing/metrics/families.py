"""All metric families of the server; ``docs/reference/metrics.md`` is made from them.

Calls have the names of the gRPC ecosystem's interceptors. No label has a value that a client can make up: methods come
from the policy, codes from gRPC, reasons from the table of reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from programkit.metrics import OF_PROCESS, Family

BUILD: Final = Family(
    "backup_sharing_build_info", "gauge", ("version", "engine"), "1, with the version and the database engine."
)

_METHOD: Final = ("grpc_type", "grpc_service", "grpc_method")

STARTED: Final = Family(
    "grpc_server_started_total", "counter", _METHOD, "Calls that have begun, also those inside a multiplexed stream."
)
HANDLED: Final = Family(
    "grpc_server_handled_total",
    "counter",
    (*_METHOD, "grpc_code", "reason"),
    "Calls that have ended, with the gRPC code and the reason of a failure; an OK has an empty reason.",
)
HANDLING: Final = Family(
    "grpc_server_handling_seconds",
    "histogram",
    _METHOD,
    "Duration of calls in the server, from the complete request to the response.",
)
IN_FLIGHT: Final = Family("backup_sharing_calls_in_flight", "gauge", (), "Calls in progress, without open watches.")
STAGE: Final = Family(
    "backup_sharing_stage_duration_seconds",
    "histogram",
    ("stage",),
    "Where the time goes. Of a call: `identity`; `turn`, the wait for its project's turn, of calls that had to wait."
    " Of a change: `commit_wait`, until a batch takes it. Of a batch: `decision`, its reads, locks, decisions and"
    " writes; `commit`, until it is on the disk (PostgreSQL: with the writes, as both are one round trip).",
)
TURNS_WAITING: Final = Family("backup_sharing_turns_waiting", "gauge", ("queue",), "Calls that wait for their turn.")
TURNS_TAKEN: Final = Family(
    "backup_sharing_turns_taken", "gauge", ("queue",), "Cost of the current turns: 1 per read, 1 per recipient."
)

BATCH: Final = Family("backup_sharing_batch_changes", "histogram", (), "Changes per batch, and so per commit.")
CHANGES_WAITING: Final = Family("backup_sharing_changes_waiting", "gauge", (), "Changes that wait for a batch.")
CHANGES_ASIDE: Final = Family(
    "backup_sharing_changes_set_aside", "gauge", (), "Changes that wait for a retry, as other servers hold locks."
)
STORE_FAILED: Final = Family(
    "backup_sharing_store_failed", "gauge", (), "1 once the disk has failed: the process ends and must be restarted."
)

WAL: Final = Family(
    "backup_sharing_sqlite_wal_bytes",
    "gauge",
    (),
    "SQLite: write-ahead log in use, looked at every 50 ms while changes are written.",
)
CHECKPOINTS: Final = Family(
    "backup_sharing_sqlite_checkpoints_total",
    "counter",
    ("outcome",),
    "SQLite: copies of the log into the database: `complete`, `partial` (a reader or writer was in the way), `failed`.",
)
CHECKPOINT_TIME: Final = Family(
    "backup_sharing_sqlite_checkpoint_seconds_total", "counter", (), "SQLite: duration of all checkpoints together."
)

ROUND_TRIP: Final = Family(
    "backup_sharing_postgres_round_trip_seconds",
    "histogram",
    ("connection",),
    "PostgreSQL: duration of requests to the database, by connection: `read` (from the pool) or `write`.",
)
POOL: Final = Family(
    "backup_sharing_postgres_pool_connections", "gauge", ("state",), "PostgreSQL: the pool's connections for reads."
)
POOL_MOST: Final = Family(
    "backup_sharing_postgres_pool_max_connections", "gauge", (), "PostgreSQL: maximum connections for reads."
)
POOL_WAITING: Final = Family(
    "backup_sharing_postgres_pool_waiting", "gauge", (), "PostgreSQL: reads that wait for a connection."
)
POOL_OPENED: Final = Family(
    "backup_sharing_postgres_pool_connections_opened_total",
    "counter",
    (),
    "PostgreSQL: attempts of the pool to open a connection.",
)
POOL_FAILED: Final = Family(
    "backup_sharing_postgres_pool_connection_errors_total",
    "counter",
    (),
    "PostgreSQL: attempts of the pool to open a connection that failed.",
)
IN_DOUBT: Final = Family(
    "backup_sharing_postgres_writers_in_doubt",
    "gauge",
    (),
    "PostgreSQL: writers that have not known for a second whether their last commit is stored.",
)

CACHE: Final = Family(
    "backup_sharing_identity_cache_lookups_total",
    "counter",
    ("result",),
    "Keystone: tokens looked up in the cache: `hit` or `miss`.",
)
CACHE_TOKENS: Final = Family(
    "backup_sharing_identity_cache_tokens", "gauge", ("verdict",), "Keystone: tokens in the cache, also expired ones."
)
VALIDATING: Final = Family(
    "backup_sharing_identity_validations_pending",
    "gauge",
    (),
    "Keystone: tokens that are being validated, or wait for that.",
)
KEYSTONE: Final = Family(
    "backup_sharing_keystone_request_duration_seconds",
    "histogram",
    ("outcome",),
    "Keystone: duration of requests: `answered`, `failed` (status 500 or above), `unanswered` (timeout, no connection),"
    " `not_understood`.",
)
BREAKER: Final = Family(
    "backup_sharing_keystone_breaker_open", "gauge", (), "Keystone: 1 while it gets nothing but a trial every 2 s."
)

WATCHES: Final = Family("backup_sharing_watches_open", "gauge", (), "Open watches.")
WATCH_LAG: Final = Family(
    "backup_sharing_watch_lag_events",
    "gauge",
    (),
    "Events, of all projects, that the slowest open watch is behind; 0 if every watch waits for events.",
)
EVENT_DELAY: Final = Family(
    "backup_sharing_event_delay_seconds",
    "histogram",
    (),
    "Time from a change (PostgreSQL: by the database's clock) until the watches of this server get its event; only"
    " while there are watches.",
)
FEED_READS: Final = Family(
    "backup_sharing_feed_reads_total", "counter", ("outcome",), "Reads of new events for all watches: `ok` or `failed`."
)

SHARINGS: Final = Family(
    "backup_sharing_sharings_active",
    "gauge",
    (),
    "Sharings whose end is not recorded, as last counted; absent before the first count. Servers on one database report"
    " the same: use `max`, not `sum`.",
)
BACKUPS: Final = Family("backup_sharing_backups_known", "gauge", (), "Backups in the catalogue, as last counted.")
COUNT_AGE: Final = Family(
    "backup_sharing_count_age_seconds", "gauge", ("counted",), "Age of the last complete count: `sharings`, `backups`."
)

FAMILIES: Final[Sequence[Family]] = (
    *(BUILD, STARTED, HANDLED, HANDLING, IN_FLIGHT, STAGE, TURNS_WAITING, TURNS_TAKEN),
    *(BATCH, CHANGES_WAITING, CHANGES_ASIDE, STORE_FAILED, WAL, CHECKPOINTS, CHECKPOINT_TIME),
    *(ROUND_TRIP, POOL, POOL_MOST, POOL_WAITING, POOL_OPENED, POOL_FAILED, IN_DOUBT),
    *(CACHE, CACHE_TOKENS, VALIDATING, KEYSTONE, BREAKER),
    *(WATCHES, WATCH_LAG, EVENT_DELAY, FEED_READS, SHARINGS, BACKUPS, COUNT_AGE),
    *OF_PROCESS,
)
"""Every family, in the order of the documentation."""
