"""Settings: defaults < file < environment < flags, checked as a whole at start."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from backup_sharing.password_advice import ADVICE
from backup_sharing.store.opening import checked
from backup_sharing.usecases.policy import ROLES
from programkit import settings
from programkit.settings import LOOPBACK, Names, ProgramSettings, is_host_and_port, is_on, split

ENVIRONMENT_PREFIX = "BACKUP_SHARING_"

_PROJECT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _address(value: str) -> str:
    if not (is_host_and_port(value) or (value.startswith("unix:") and len(value) > len("unix:"))):
        raise ValueError("expected HOST:PORT or unix:PATH")
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment or parts.username:
        raise ValueError("expected http(s)://HOST[:PORT][/PATH]")
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


Database = Annotated[str, AfterValidator(checked)]
Address = Annotated[str, AfterValidator(_address)]
Url = Annotated[str, AfterValidator(_url)]
Clients = Annotated[list[Annotated[str, AfterValidator(_client)]], NoDecode, BeforeValidator(split)]
Roles = Annotated[list[Annotated[str, AfterValidator(_role)]], NoDecode, BeforeValidator(split)]
Projects = Annotated[list[Annotated[str, AfterValidator(_project)]], NoDecode, BeforeValidator(split)]


_PROVIDERS = ("tokens", "keystone_url", "client", "proxy_credentials")
_SERVICE_USER = ("keystone_url", "keystone_user", "keystone_password_file", "keystone_project")


def _is_confidential(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return True  # it is refused as a url
    return parts.scheme != "http" or parts.hostname in ("localhost", "127.0.0.1", "::1")


def _incomplete(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Settings that are missing beside others that are given, and why they are needed."""
    if not any(given.get(name) for name in _PROVIDERS):
        yield "tokens", "is missing; without it, --keystone-url, --client or --proxy-credentials nobody could call"
    if any(given.get(name) for name in _SERVICE_USER[1:]):
        for name in _SERVICE_USER:
            if not given.get(name):
                yield name, "is missing beside the other settings of the service user"
    listen = str(given.get("grpc_listen") or Settings.model_fields["grpc_listen"].default)
    is_local = listen.startswith("unix:") or listen.rpartition(":")[0] in LOOPBACK
    is_insecure = is_on(given.get("insecure"))
    with_tls = any(given.get(name) for name in ("tls_certificate", "tls_key", "client_ca", "client", "gateway_peer"))
    if with_tls or not (is_local or is_insecure):
        why = "is missing" if with_tls else "is missing; beyond loopback plain text needs --insecure"
        yield from ((name, why) for name in ("tls_certificate", "tls_key") if not given.get(name))
    if (given.get("client") or given.get("gateway_peer")) and not given.get("client_ca"):
        yield "client_ca", "is missing; without it no certificate of a peer can be believed"
    if given.get("proxy_credentials") and not given.get("gateway_peer") and not listen.startswith("unix:"):
        yield "gateway_peer", "is missing; a proxy is believed only through a gateway that is known, or a Unix socket"
    if not (is_insecure or _is_confidential(str(given.get("keystone_url") or ""))):
        yield "keystone_url", "would get tokens in plain text; expected https, or --insecure"


class Settings(ProgramSettings):
    """Share volume backups between projects, over gRPC.

    Every option can also be given in the environment (--commit-margin as BACKUP_SHARING_COMMIT_MARGIN)
    or in a TOML file (commit_margin = 1.0) named by --config. Flags win over the environment, the
    environment over the file.
    """

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, cli_prog_name="backup-sharing-server")

    grpc_listen: Address = Field("127.0.0.1:50051", description="HOST:PORT or unix:PATH to serve gRPC on")
    tls_certificate: Path | None = Field(None, description="PEM file with the server's certificate and its chain")
    tls_key: Path | None = Field(None, description="PEM file with its key")
    client_ca: Path | None = Field(
        None, description="PEM file with the CA of peers' certificates; from then on every peer has to show one"
    )
    insecure: bool = Field(False, description="serve plain text beyond loopback, and ask a Keystone without TLS")
    database: Database = Field(
        description="SQLite file, made if it is missing, or postgresql://USER@HOST/NAME; with several hosts the one"
        " that writes is used"
    )
    migrate: bool = Field(
        False, description="bring the tables of an older version up to date at start, as 'backup-sharing migrate' does"
    )
    tokens: Path | None = Field(None, description="file of token digests; 'backup-sharing token' adds to it")
    keystone_url: Url | None = Field(
        None, description="Keystone that knows the callers' tokens, such as https://iam:5000"
    )
    keystone_user: str | None = Field(
        None, description="name of the service user that validates tokens; without one each token validates itself"
    )
    keystone_password_file: Path | None = Field(None, description="file that holds the service user's password")
    keystone_user_domain: str = Field("Default", description="name of the service user's domain")
    keystone_project: str | None = Field(None, description="name of the service user's project")
    keystone_project_domain: str = Field("Default", description="name of that project's domain")
    keystone_role: Roles = Field(
        [],
        description="NAME=ROLE: which of reader, member, admin and service a role of Keystone's is, where its name"
        " is another; may be given several times",
    )
    keystone_service_project: Projects = Field(
        [],
        description="id of a Keystone project whose tokens may have the role service, also where an authenticating"
        " proxy names them; without one none has it; may be given several times",
    )
    keystone_admin_project: Projects = Field(
        [],
        description="id of a Keystone project whose role admin acts for every project, that of any other only as"
        " member; without one it does in every project; may be given several times",
    )
    client: Clients = Field(
        [],
        description="NAME=ROLE or NAME=ROLE@PROJECT: who calls with a certificate of this name, by itself; may be"
        " given several times",
    )
    gateway_peer: Names = Field(
        [], description="name in the certificate of a gateway, which never is a caller; may be given several times"
    )
    proxy_credentials: Path | None = Field(
        None, description="file of NAME:SECRET, a line each, by which an authenticating proxy is known"
    )
    keystone_timeout: float = Field(5.0, gt=0, description="seconds that Keystone has to answer")
    token_cache_seconds: float = Field(
        60.0, gt=0, description="seconds for which a token is good without asking Keystone again, even if it is revoked"
    )
    token_cache_size: int = Field(10_000, ge=1, description="good tokens that are remembered, and refused ones")
    max_recipients: int = Field(1000, ge=1, description="recipients that one call may name")
    max_active_sharings: int = Field(1000, ge=0, description="active sharings that one backup may have; 0: any number")
    on_conflict: Literal["refuse", "return"] = Field(
        "refuse",
        description="when a recipient already has the backup: refuse the call, or return the standing sharing",
    )
    idempotency_key_lifetime: float = Field(86400, gt=0, description="seconds for which an idempotency key is kept")
    commit_margin: float = Field(
        1.0,
        ge=0,
        description="seconds before a call's deadline in which no commit begins any more, or the last quarter of the"
        " time that the call has, where that is less",
    )
    max_concurrent_calls: int = Field(4096, ge=1, description="calls in progress; more are refused as overload")
    max_project_calls: int = Field(1024, ge=0, description="calls in progress of one project; 0: any number")
    max_project_rate: float = Field(0, ge=0, description="calls a second of one project; 0: any number")
    max_call_seconds: float = Field(
        30.0, gt=0, description="seconds that a call may take, whatever its deadline, and without one"
    )
    max_failed_identities: float = Field(
        600,
        ge=0,
        description="calls a minute with a bad credential from one client address, where that is known; more are"
        " refused as overload, good credentials always pass; 0: any number",
    )
    max_connections: int = Field(1000, ge=1, description="connections of clients; any further one is closed at once")
    max_peer_streams: int = Field(
        16,
        ge=1,
        description="multiplexed streams from one address, or with one certificate's name; a gateway has one, and"
        " without one makes each call by itself",
    )
    max_waiting_changes: int = Field(10_000, ge=1, description="changes waiting for the database; more are refused")
    commit_delay: float = Field(
        0.001,
        ge=0,
        le=1,
        description="seconds that a change waits for others to share its commit while several callers make changes",
    )
    read_threads: int = Field(2, ge=1, description="threads that read from SQLite")
    read_connections: int = Field(4, ge=1, description="connections to PostgreSQL that read")
    write_connections: int = Field(1, ge=1, description="connections to PostgreSQL that write, one batch each")
    busy_timeout: float = Field(
        5.0, ge=0, description="seconds to wait for the database, and while others hold what a call needs"
    )
    drain_notice: float = Field(
        1.0,
        ge=0,
        description="seconds for which a server that is about to stop still takes calls, if anyone watches its health,"
        " so that they can be sent elsewhere",
    )
    drain_timeout: float = Field(10.0, ge=0, description="seconds that calls in progress get when the server stops")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    stop_on_stdin_close: bool = Field(
        False, description="drain when standard input closes, so that the server does not outlive its parent"
    )

    @classmethod
    def incomplete(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Settings that are missing beside others that are given, and why they are needed."""
        return _incomplete(given)


def load(arguments: Sequence[str]) -> Settings:
    """Read all settings. If any is bad, list every one on standard error and exit with 2."""
    return settings.load(Settings, arguments, advice=ADVICE)
