"""Settings: defaults < file < environment < flags, checked as a whole at start."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from annotated_types import Len
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from programkit import settings
from programkit.settings import LOOPBACK, Names, ProgramSettings, is_host_and_port, is_on, split
from restmap_gateway.program import RESTMAP_GATEWAY, Program
from restmap_gateway.upstream.resolver import DNS


def _address(value: str) -> str:
    if not is_host_and_port(value):
        raise ValueError("expected HOST:PORT")
    return value


def _target(value: str) -> str:
    name = value.removeprefix(DNS)
    is_socket = value.startswith("unix:") and len(value) > len("unix:")
    if not is_socket and ("/" in name or not is_host_and_port(name)):
        raise ValueError(f"expected HOST:PORT, unix:PATH or {DNS}HOST:PORT")
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if (
        parts.scheme not in ("http", "https")
        or not parts.netloc
        or parts.query
        or parts.fragment
        or "@" in parts.netloc
    ):
        raise ValueError("expected http(s)://HOST[:PORT][/PATH]")
    return value


def _network(value: str) -> str:
    ipaddress.ip_network(value)
    return value


Address = Annotated[str, AfterValidator(_address)]
Target = Annotated[str, AfterValidator(_target)]
Url = Annotated[str, AfterValidator(_url)]
Targets = Annotated[list[Target], NoDecode, BeforeValidator(split), Len(min_length=1)]
Network = Annotated[str, AfterValidator(_network)]
Networks = Annotated[list[Network], NoDecode, BeforeValidator(split)]


def _is_local(address: object) -> bool:
    name = str(address).removeprefix(DNS)
    return name.startswith("unix:") or name.rpartition(":")[0] in LOOPBACK


def _incomplete(given: Mapping[str, Any], program: Program) -> Iterator[tuple[str, str]]:
    """Settings that are missing, most of them beside others that are given, and why they are needed."""

    def is_local(name: str) -> bool:
        addresses = split(given.get(name)) or Settings.model_fields[name].default
        return all(map(_is_local, addresses if isinstance(addresses, list) else [addresses]))

    if program.descriptor_set is None and not given.get("descriptor_set"):
        yield "descriptor_set", "is missing"
    is_insecure = is_on(given.get("insecure"))
    with_tls = bool(given.get("tls_certificate") or given.get("tls_key"))
    if with_tls or not (is_local("listen") or is_insecure):
        why = "is missing" if with_tls else "is missing; beyond loopback plain text needs --insecure"
        yield from ((name, why) for name in ("tls_certificate", "tls_key") if not given.get(name))
    pair = ("upstream_certificate", "upstream_key")
    if any(given.get(name) for name in (*pair, "upstream_name")) and not given.get("upstream_ca"):
        yield "upstream_ca", "is missing beside the others for TLS to the server"
    elif not (given.get("upstream_ca") or is_local("upstream") or is_insecure):
        yield "upstream_ca", "is missing; beyond loopback plain text needs --insecure"
    if any(given.get(name) for name in pair):
        yield from ((name, "is missing") for name in pair if not given.get(name))


class Settings(ProgramSettings):
    """Serve a gRPC service annotated with google.api.http as REST.

    Every option can also be given in the environment (--body-timeout as RESTMAP_GATEWAY_BODY_TIMEOUT)
    or in a TOML file (body_timeout = 10.0) named by --config. Flags win over the environment, the
    environment over the file.
    """

    model_config = SettingsConfigDict(env_prefix=RESTMAP_GATEWAY.environment_prefix, cli_prog_name=RESTMAP_GATEWAY.name)
    program: ClassVar[Program] = RESTMAP_GATEWAY

    listen: Address = Field("127.0.0.1:8080", description="HOST:PORT to serve REST on")
    tls_certificate: Path | None = Field(None, description="PEM file with the certificate that clients see")
    tls_key: Path | None = Field(None, description="PEM file with its key")
    insecure: bool = Field(False, description="speak plain text beyond loopback, with clients and with the server")
    descriptor_set: Path | None = Field(
        None,
        description="what to serve: a FileDescriptorSet with all imports, as protoc --include_imports"
        " --descriptor_set_out writes it; without it the one that comes with the program, if there is one",
    )
    service: Names = Field(
        [], description="full name of a service to serve, of several in the set; may be given several times"
    )
    lenient: bool = Field(False, description="ignore and log members and parameters that are unknown, instead of 400")
    upstream: Targets = Field(
        ["127.0.0.1:50051"],
        description="HOST:PORT or unix:PATH of the gRPC server, dns:///HOST:PORT for all addresses of a name, or a list"
        " of these with commas: then calls are spread over the servers that are healthy",
    )
    resolve_every: float = Field(10.0, gt=0, description="seconds after which names of dns:/// are looked up again")
    keepalive: float = Field(
        20.0,
        ge=0,
        description="seconds of silence after which one of several servers is asked for a sign of life; it has half as"
        " long for that, and any server to acknowledge what it is sent, before it is taken for gone; 0: for ever",
    )
    upstream_ca: Path | None = Field(
        None, description="PEM file with the CA of the server's certificate; from then on TLS is spoken to it"
    )
    upstream_certificate: Path | None = Field(None, description="PEM file with the certificate shown to the server")
    upstream_key: Path | None = Field(None, description="PEM file with its key")
    upstream_name: str | None = Field(None, description="name in the server's certificate, where it is not the host")
    proxy_identity: bool = Field(
        False, description="pass on what an authenticating proxy in front says of the caller, with its credential"
    )
    multiplex: bool = Field(
        True,
        description="send calls that wait over one stream, if the server can take them so; otherwise each by itself",
    )
    timeout: float = Field(30.0, gt=0, description="seconds that a call may take; a client's Grpc-Timeout can be less")
    commit_margin: float = Field(
        1.0, ge=0, description="seconds to wait for the server's last word beyond the time a call may take"
    )
    body_timeout: float = Field(10.0, gt=0, description="seconds that a client has to send a body")
    header_timeout: float = Field(10.0, gt=0, description="seconds that the headers of a request may take to arrive")
    idle_timeout: float = Field(
        75.0, gt=0, description="seconds that a connection may wait for its next request, or for its client to read on"
    )
    heartbeat: float = Field(15.0, gt=0, description="seconds after which a quiet event stream shows a sign of life")
    max_in_flight: int = Field(
        4096, ge=1, description="requests being answered, until their client has taken the answer; more are 503"
    )
    max_streams: int = Field(1024, ge=1, description="event streams that are open, of those requests; more are 503")
    max_connections: int = Field(
        0,
        ge=0,
        description="connections of clients; for one more the one is closed that has waited longest for its next"
        " request, and where none waits the new one is 503; never more than the open files that the process may have;"
        " 0: 10000",
    )
    max_connections_per_client: int = Field(
        0,
        ge=0,
        description="connections from one address, more are 503; not behind a proxy, from where all come;"
        " 0: any number",
    )
    max_buffered: int = Field(
        64 << 20,
        ge=1 << 20,
        description="bytes of requests that are not whole, and as many of answers that are not read, of all clients;"
        " beyond it the slowest are closed",
    )
    max_body: int = Field(1 << 20, ge=1, description="bytes that a body may have")
    max_header: int = Field(16384, ge=1024, description="bytes that the request line or one header may have")
    max_depth: int = Field(100, ge=1, description="levels of objects and lists that a body may have")
    max_values: int = Field(
        5000, ge=1, description="members of objects and elements of lists that a body may have, all together"
    )
    public_url: Url | None = Field(
        None, description="what links in answers begin with, such as https://api.example.com"
    )
    trusted_proxy: Networks = Field(
        [],
        description="network whose X-Forwarded-Proto and X-Forwarded-Host are believed; may be given several times,"
        " or as a list with commas",
    )
    cors_origin: Names = Field(
        [], description="origin whose pages may read answers in a browser, or *; may be given several times"
    )
    docs: bool = Field(
        True, description="serve descriptions at /openapi.json and /protos.binpb, and a page to try them at /docs"
    )
    drain_notice: float = Field(
        3.0,
        ge=0,
        description="seconds for which a gateway that is about to stop still takes requests, if anyone asks for"
        " /healthz, so that they can be sent elsewhere",
    )
    drain_timeout: float = Field(10.0, ge=0, description="seconds that requests in progress get when the gateway stops")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    stop_on_stdin_close: bool = Field(
        False, description="drain when standard input closes, so that the gateway does not outlive its parent"
    )

    @classmethod
    def incomplete(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Settings that are missing beside others that are given, and why they are needed."""
        return _incomplete(given, cls.program)


def settings_of(program: Program) -> type[Settings]:
    """The settings with the name and the prefix of a program."""

    class Own(Settings):
        model_config = SettingsConfigDict(env_prefix=program.environment_prefix, cli_prog_name=program.name)

    Own.program = program
    Own.__doc__ = (Settings.__doc__ or "").replace(RESTMAP_GATEWAY.environment_prefix, program.environment_prefix)
    return Own


def load(arguments: Sequence[str], program: Program = RESTMAP_GATEWAY) -> Settings:
    """Read all settings of a program. If any is bad, list every one on standard error and exit with 2."""
    return settings.load(settings_of(program), arguments)
