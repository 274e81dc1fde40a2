"""Settings of the server, in the order defaults < file < environment < flags, validated together at start."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from backup_sharing.password_advice import ADVICE
from backup_sharing.store.opening import checked
from backup_sharing.usecases.policy import ROLES
from programkit import settings
from programkit.admin_http import options
from programkit.admin_http.options import AdminAllow, AdminHosts, AdminListen
from programkit.settings import (
    LOOPBACK,
    SPLIT,
    Days,
    Metavar,
    MinimumLevel,
    Name,
    Names,
    ProgramSettings,
    Seconds,
    Subject,
    Traces,
    Url,
    is_host_and_port,
    is_on,
)

ENVIRONMENT_PREFIX = "BACKUP_SHARING_"

_PROJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _address(value: str) -> str:
    if not (is_host_and_port(value) or (value.startswith("unix:") and len(value) > len("unix:"))):
        raise ValueError("expected HOST:PORT or unix:PATH")
    return value


def _role(value: str) -> str:
    name, _, role = value.rpartition("=")
    if not name or role not in ROLES:
        raise ValueError(f"expected NAME=ROLE with one of {', '.join(ROLES)}")
    return value


def _client(value: str) -> str:
    name, _, whose = value.rpartition("=")
    role, at, project = whose.partition("@")
    if not name or role not in ROLES or (at and not _PROJECT_ID.fullmatch(project)):
        raise ValueError(f"expected NAME=ROLE or NAME=ROLE@PROJECT with one of {', '.join(ROLES)}")
    return value


def _project(value: str) -> str:
    if not _PROJECT_ID.fullmatch(value):
        raise ValueError("expected the id of a project, 1 to 64 characters of [A-Za-z0-9_-]")
    return value


Database = Annotated[str, AfterValidator(checked), Metavar("FILE|URL")]
Address = Annotated[str, AfterValidator(_address), Metavar("HOST:PORT")]
Clients = Annotated[list[Annotated[str, AfterValidator(_client)]], NoDecode, SPLIT, Metavar("NAME=ROLE[@PROJECT]")]
Roles = Annotated[list[Annotated[str, AfterValidator(_role)]], NoDecode, SPLIT, Metavar("NAME=ROLE")]
Projects = Annotated[list[Annotated[str, AfterValidator(_project)]], NoDecode, SPLIT, Metavar("PROJECT")]


_PROVIDERS = ("tokens", "keystone_url", "client", "proxy_credentials")
_SERVICE_USER = ("keystone_url", "keystone_user", "keystone_password_file", "keystone_project")


def _is_confidential(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return True  # `_url` refuses this value
    return parts.scheme != "http" or parts.hostname in ("localhost", "127.0.0.1", "::1")


def _incomplete(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each missing setting that the given settings require, with the reason."""
    if not any(given.get(name) for name in _PROVIDERS):
        yield (
            "tokens",
            "is missing; callers need it, --keystone-url, --client or --proxy-credentials to authenticate",
        )
    if any(given.get(name) for name in _SERVICE_USER[1:]):
        for name in _SERVICE_USER:
            if not given.get(name):
                yield name, "is missing beside the other settings of the service user"
    listen = str(given.get("grpc_listen") or Settings.model_fields["grpc_listen"].default)
    is_local = listen.startswith("unix:") or listen.rpartition(":")[0] in LOOPBACK
    is_insecure = is_on(given.get("insecure"))
    with_tls = any(given.get(name) for name in ("tls_certificate", "tls_key", "client_ca", "client", "gateway_peer"))
    if with_tls or not (is_local or is_insecure):
        why = "is missing" if with_tls else "is missing; plain text on a non-loopback address needs --insecure"
        yield from ((name, why) for name in ("tls_certificate", "tls_key") if not given.get(name))
    if (given.get("client") or given.get("gateway_peer")) and not given.get("client_ca"):
        yield "client_ca", "is missing; without it the certificates of peers cannot be verified"
    if given.get("proxy_credentials") and not given.get("gateway_peer") and not listen.startswith("unix:"):
        yield "gateway_peer", "is missing; a proxy is trusted only through a named gateway or a Unix socket"
    if given.get("keystone_ca") and not str(given.get("keystone_url") or "").lower().startswith("https://"):
        yield "keystone_url", "has no TLS or is missing beside --keystone-ca; expected https://HOST[:PORT][/PATH]"
    if not (is_insecure or _is_confidential(str(given.get("keystone_url") or ""))):
        yield "keystone_url", "would receive tokens in plain text; expected https, or --insecure"
    yield from _probe_ports(given, listen)


def _probe_ports(given: Mapping[str, Any], grpc_listen: str) -> Iterator[tuple[str, str]]:
    health = str(given.get("health_listen") or "")
    if health == grpc_listen:
        yield "health_listen", "is also the address of --grpc-listen; choose another port"
    yield from options.incomplete(given, {"--grpc-listen": grpc_listen, "--health-listen": health})


class Settings(ProgramSettings):
    """Share volume backups between projects over gRPC."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, cli_prog_name="backup-sharing-server")
    section = "server"
    distribution = "backup-sharing"
    variables_elsewhere = frozenset({f"{ENVIRONMENT_PREFIX}TOKEN"})  # of the client

    grpc_listen: Annotated[Address, Subject("Address and TLS")] = Field(
        "127.0.0.1:50051", description="HOST:PORT or unix:PATH to serve gRPC on"
    )
    tls_certificate: Path | None = Field(None, description="PEM file with the server's certificate chain")
    tls_key: Path | None = Field(None, description="PEM file with the private key of the server's certificate")
    client_ca: Path | None = Field(
        None, description="PEM file with the CA that signed the peers' certificates; if set, peers need a certificate"
    )
    insecure: bool = Field(False, description="allow plain text: gRPC on any address, and a Keystone without TLS")
    health_listen: Annotated[Address | None, Subject("Administration")] = Field(
        None,
        description="HOST:PORT or unix:PATH to serve nothing but grpc.health.v1 on, in plain text: for probes that have"
        " no certificate for --client-ca",
    )
    admin_listen: AdminListen = Field(None)
    admin_allow: AdminAllow = Field([])
    admin_host: AdminHosts = Field([])
    database: Annotated[Database, Subject("Database")] = Field(
        description="SQLite file, created if missing, or postgresql://USER@HOST/NAME; of several hosts, the server"
        " uses the one that accepts writes"
    )
    migrate: bool = Field(
        False, description="apply missing database migrations at start, as 'backup-sharing migrate' does"
    )
    max_waiting_changes: int = Field(
        10_000, ge=1, description="maximum changes waiting for the database; further changes are refused"
    )
    commit_delay: Seconds = Field(
        0.001,
        ge=0,
        le=1,
        description="seconds to wait for further changes before a shared commit, while several callers make changes",
    )
    busy_timeout: Seconds = Field(
        5.0, ge=0, description="seconds to wait for the database, including locks held by others"
    )
    read_threads: int = Field(2, ge=1, description="threads that read from SQLite")
    read_connections: int = Field(4, ge=1, description="PostgreSQL connections for reads")
    write_connections: int = Field(1, ge=1, description="PostgreSQL connections for writes, one batch each")
    prepared_statements: Literal["auto", "on", "off"] = Field(
        "auto",
        description="prepare PostgreSQL statements: auto prepares them unless a connection pooler such as PgBouncer is"
        " found; on needs a pooler that tracks prepared statements or pools sessions; off suits every pooler",
    )
    tokens: Annotated[Path | None, Subject("Callers")] = Field(
        None,
        description="file of token digests, which 'backup-sharing token' writes; read again within seconds of a change",
    )
    client: Clients = Field(
        [],
        description="NAME=ROLE or NAME=ROLE@PROJECT: accept the client certificate with this name as a caller with"
        " this role, in this project if given; may be given several times",
    )
    gateway_peer: Names = Field(
        [],
        description="name in a gateway's certificate; a certificate with this name never identifies a caller; may be"
        " given several times",
    )
    proxy_credentials: Path | None = Field(
        None, description="file of NAME:SECRET lines, the credentials of the authenticating proxy"
    )
    keystone_url: Annotated[Url | None, Subject("Keystone")] = Field(
        None, description="URL of the Keystone that validates the callers' tokens, such as https://iam:5000"
    )
    keystone_ca: Path | None = Field(
        None,
        description="PEM file with the CA of Keystone's certificate, read at start; without one, the CAs of the system"
        " count",
    )
    keystone_public_url: Url | None = Field(
        None,
        description="URL where callers get tokens, for WWW-Authenticate; without one, --keystone-url",
    )
    keystone_user: Name | None = Field(
        None, description="name of the service user that validates tokens; without one, each token validates itself"
    )
    keystone_password_file: Path | None = Field(None, description="file with the service user's password")
    keystone_user_domain: Name = Field("Default", description="name of the service user's domain")
    keystone_project: Name | None = Field(None, description="name of the service user's project")
    keystone_project_domain: Name = Field("Default", description="name of the domain of the service user's project")
    keystone_role: Roles = Field(
        [],
        description="NAME=ROLE: map a Keystone role to reader, member, admin or service; a role that is not mapped"
        " keeps its name; may be given several times",
    )
    keystone_service_project: Projects = Field(
        [],
        description="id of a Keystone project in which the role service counts, for Keystone tokens and for callers"
        " named by an authenticating proxy; without one, the role is ignored; may be given several times",
    )
    keystone_admin_project: Projects = Field(
        [],
        description="id of a Keystone project whose admins may act for every project; admins of other projects count"
        " as members; without one, the admins of every project may act for all; may be given several times",
    )
    keystone_service_type: Names = Field(
        ["vbs", "vbsv2"],
        description="type of this service in the access rules of Keystone's application credentials; may be given"
        " several times",
    )
    keystone_service_token_role: Names = Field(
        ["service"],
        description="Keystone role that makes a token in X-Service-Token valid: with it the caller's token may have"
        " expired; may be given several times",
    )
    keystone_timeout: Seconds = Field(5.0, gt=0, description="timeout of a request to Keystone, in seconds")
    token_cache_seconds: Seconds = Field(
        60.0, gt=0, description="seconds to cache a valid Keystone token; a revoked token is accepted until then"
    )
    token_cache_size: int = Field(
        100_000,
        ge=1,
        description="maximum number of cached valid tokens, and of cached refused tokens; 100000 of both take about"
        " 110 MB",
    )
    max_recipients: Annotated[int, Subject("Sharings")] = Field(
        1000, ge=1, description="maximum number of recipients in one call"
    )
    max_active_sharings: int = Field(1000, ge=0, description="maximum active sharings of one backup; 0: no limit")
    on_conflict: Literal["refuse", "return"] = Field(
        "refuse",
        description="if a recipient already has the backup: refuse the call, or return the existing sharing",
    )
    max_sharing_lifetime: Days = Field(
        0,
        ge=0,
        le=36_500,
        description="maximum days until a new sharing ends by itself; a sharing without an end then gets this one;"
        " 0: no limit, and sharings without an end do not end",
    )
    sweep_interval: Seconds = Field(
        10.0,
        gt=0,
        le=86_400,
        description="maximum seconds between two looks for sharings that have ended, to record their ends and the"
        " events of these; no call shows a sharing after its time, recorded or not",
    )
    keep_events: Days = Field(
        0,
        ge=0,
        le=36_500,
        description="days to keep events, which are the history and what watches send; older ones are deleted in the"
        " background, and a cursor before them has expired; 0: for ever",
    )
    keep_cancelled: Days = Field(
        0,
        ge=0,
        le=36_500,
        description="days to keep sharings after they were cancelled or have ended, which no call shows; older ones are"
        " deleted in the background, but not their events; 0: for ever",
    )
    idempotency_key_lifetime: Seconds = Field(86400, gt=0, description="seconds to keep an idempotency key")
    commit_margin: Annotated[Seconds, Subject("Calls")] = Field(
        1.0,
        ge=0,
        description="seconds before the call's deadline in which the server starts no commit; at most a quarter of the"
        " call's time",
    )
    max_concurrent_calls: int = Field(
        4096, ge=1, description="maximum calls in progress; further calls are refused as overload"
    )
    max_project_calls: int = Field(1024, ge=0, description="maximum calls in progress of one project; 0: no limit")
    max_project_rate: float = Field(0, ge=0, description="maximum calls per second of one project; 0: no limit")
    max_call_seconds: Seconds = Field(
        30.0, gt=0, description="maximum duration of a call in seconds, with or without a deadline"
    )
    max_failed_identities: float = Field(
        600,
        ge=0,
        description="maximum calls per minute with invalid credentials from one client address; further calls"
        " are refused as overload; valid credentials and unknown addresses are not limited; 0: no limit",
    )
    max_connections: int = Field(
        1000, ge=1, description="maximum client connections; further connections are closed at once"
    )
    max_peer_streams: int = Field(
        16,
        ge=1,
        description="maximum multiplexed streams per peer address or certificate name; a gateway opens one; if the"
        " stream is refused, the gateway makes unary calls",
    )
    max_watches: Annotated[int, Subject("Watches")] = Field(
        10_000, ge=1, description="maximum open watches of events; further watches are refused as overload"
    )
    max_project_watches: int = Field(
        1000,
        ge=0,
        description="maximum open watches by the callers of one project; callers without a project count together;"
        " 0: no limit",
    )
    watch_checkpoint: Seconds = Field(
        30.0,
        gt=0,
        description="seconds without an event after which a watch sends its cursor, so that the client knows that the"
        " watch is alive",
    )
    max_watch_seconds: Seconds = Field(
        300.0,
        gt=0,
        description="maximum duration in seconds of a watch whose caller was named by an authenticating proxy; other"
        " callers are identified again once per minute instead",
    )
    drain_notice: Annotated[Seconds, Subject("Stopping")] = Field(
        1.0,
        ge=0,
        description="seconds to keep accepting calls while draining, so that health watchers can send calls"
        " elsewhere; skipped if nobody watches the health or polls /readyz",
    )
    drain_timeout: Seconds = Field(
        10.0, ge=0, description="seconds for calls in progress to finish when the server stops"
    )
    stop_on_stdin_close: bool = Field(
        False, description="drain when standard input closes, so that the server does not outlive its parent"
    )
    log_level: MinimumLevel = Field("info")
    slow_call: Seconds = Field(
        1.0,
        ge=0,
        description="seconds from which a call is logged as slow, with the time of each of its stages; 0: never",
    )
    traces: Traces = Field(False)

    @classmethod
    def incomplete(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield each missing setting that the given settings require, with the reason."""
        return _incomplete(given)


def load(arguments: Sequence[str]) -> Settings:
    """Return all settings. If any is invalid, print each problem to standard error and exit with 2."""
    return settings.load(Settings, arguments, advice=ADVICE)
