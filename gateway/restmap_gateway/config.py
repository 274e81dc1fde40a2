"""Settings of the gateway: defaults < file < environment < flags, validated together at start."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Len
from pydantic import AfterValidator, Field
from pydantic_settings import NoDecode, SettingsConfigDict

from programkit import settings
from programkit.admin_http import options
from programkit.admin_http.options import AdminAllow, AdminHosts, AdminListen
from programkit.settings import (
    LOOPBACK,
    MISSING,
    SPLIT,
    Bytes,
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
    split,
)
from restmap_gateway.program import RESTMAP_GATEWAY, Program
from restmap_gateway.schema.header_check import why_not_in, why_not_out
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


def _network(value: str) -> str:
    ipaddress.ip_network(value)
    return value


def _header_in(value: str) -> str:
    if why := why_not_in(value):
        raise ValueError(why)
    return value


def _header_out(value: str) -> str:
    if why := why_not_out(value):
        raise ValueError(why)
    return value


Address = Annotated[str, AfterValidator(_address), Metavar("HOST:PORT")]
Target = Annotated[str, AfterValidator(_target)]
Targets = Annotated[list[Target], NoDecode, SPLIT, Len(min_length=1), Metavar("HOST:PORT")]
Network = Annotated[str, AfterValidator(_network)]
HeadersIn = Annotated[list[Annotated[str, AfterValidator(_header_in)]], NoDecode, SPLIT, Metavar("HEADER")]
HeadersOut = Annotated[list[Annotated[str, AfterValidator(_header_out)]], NoDecode, SPLIT, Metavar("HEADER")]
Networks = Annotated[list[Network], NoDecode, SPLIT, Metavar("CIDR")]
Origins = Annotated[list[str], NoDecode, SPLIT, Metavar("ORIGIN")]


def _is_local(address: object) -> bool:
    name = str(address).removeprefix(DNS)
    return name.startswith("unix:") or name.rpartition(":")[0] in LOOPBACK


def _incomplete(given: Mapping[str, Any], program: Program) -> Iterator[tuple[str, str]]:
    """Yield each missing setting with the reason; most are required by another setting that is given."""

    def is_local(name: str) -> bool:
        addresses = split(given.get(name)) or Settings.model_fields[name].default
        return all(map(_is_local, addresses if isinstance(addresses, list) else [addresses]))

    if program.descriptor_set is None and not given.get("descriptor_set"):
        yield "descriptor_set", MISSING
    is_insecure = is_on(given.get("insecure"))
    with_tls = bool(given.get("tls_certificate") or given.get("tls_key"))
    if with_tls or not (is_local("listen") or is_insecure):
        why = "is missing" if with_tls else "is missing; beyond loopback plain text needs --insecure"
        yield from ((name, why) for name in ("tls_certificate", "tls_key") if not given.get(name))
    pair = ("upstream_certificate", "upstream_key")
    if any(given.get(name) for name in (*pair, "upstream_name")) and not given.get("upstream_ca"):
        yield "upstream_ca", "is missing, but the other TLS settings for the server need it"
    elif not (given.get("upstream_ca") or is_local("upstream") or is_insecure):
        yield "upstream_ca", "is missing; beyond loopback plain text needs --insecure"
    if any(given.get(name) for name in pair):
        yield from ((name, "is missing") for name in pair if not given.get(name))
    yield from options.incomplete(
        given, {"--listen": str(given.get("listen") or Settings.model_fields["listen"].default)}
    )


class Settings(ProgramSettings):
    """Serve a gRPC service annotated with google.api.http as REST."""

    model_config = SettingsConfigDict(env_prefix=RESTMAP_GATEWAY.environment_prefix, cli_prog_name=RESTMAP_GATEWAY.name)
    section = "gateway"
    program: ClassVar[Program] = RESTMAP_GATEWAY
    distribution = RESTMAP_GATEWAY.distribution

    listen: Annotated[Address, Subject("Address and TLS")] = Field(
        "127.0.0.1:8080", description="HOST:PORT on which to serve REST"
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file with the gateway's certificate, presented to clients"
    )
    tls_key: Path | None = Field(None, description="PEM file with the private key of --tls-certificate")
    insecure: bool = Field(False, description="allow plain text beyond loopback, to clients and to the server")
    admin_listen: Annotated[AdminListen, Subject("Administration")] = Field(None)
    admin_allow: AdminAllow = Field([])
    admin_host: AdminHosts = Field([])
    descriptor_set: Annotated[Path | None, Subject("Served API")] = Field(
        None,
        description="FileDescriptorSet to serve, with all imports, as written by protoc --include_imports"
        " --descriptor_set_out; by default the set that is packaged with the program, if any",
    )
    service: Names = Field(
        [],
        description="full name of a service to serve, may be repeated; by default all annotated services of the set"
        " except those that it only imports",
    )
    strict_schema: bool = Field(
        False,
        description="exit with 2 if any rule or option of the set cannot be served, instead of serving the others;"
        " always on for the set that is packaged with the program",
    )
    lenient: bool = Field(False, description="ignore and log unknown members and parameters instead of returning 400")
    docs: bool = Field(
        True,
        description="serve API descriptions at /openapi.json, /openapi-3.0.json and /protos.binpb, and a page to try"
        " them at /docs",
    )
    error_details: Literal["documented", "full", "debug"] | None = Field(
        None,
        description="details of failed calls in error bodies: documented has the invalid members and the reason; full"
        " has every google.rpc detail, but hides the texts of internal failures; debug hides nothing; by default as the"
        " descriptor set says, or documented",
    )
    upstream: Annotated[Targets, Subject("Server behind the gateway")] = Field(
        ["127.0.0.1:50051"],
        description="address of the gRPC server: HOST:PORT, unix:PATH, or dns:///HOST:PORT for all addresses of a name;"
        " with a comma-separated list, calls are balanced over the healthy servers",
    )
    resolve_every: Seconds = Field(10.0, gt=0, description="seconds between DNS lookups of dns:/// names")
    keepalive: Seconds = Field(
        20.0,
        ge=0,
        description="idle seconds before a ping to one of several servers; any server has half that time to acknowledge"
        " pings and data before its connection is closed; 0 disables both",
    )
    upstream_ca: Path | None = Field(
        None, description="PEM file with the CA of the server's certificate; enables TLS to the server"
    )
    upstream_certificate: Path | None = Field(None, description="PEM file with the client certificate for the server")
    upstream_key: Path | None = Field(None, description="PEM file with the private key of --upstream-certificate")
    upstream_name: Name | None = Field(
        None, description="name in the server's certificate, if it differs from the host"
    )
    proxy_identity: bool = Field(
        False,
        description="forward the caller's identity from an authenticating proxy in front, with the proxy's credential",
    )
    multiplex: bool = Field(
        True,
        description="send waiting calls in batches over one stream if the server supports it; otherwise one by one",
    )
    timeout: Annotated[Seconds, Subject("Timeouts")] = Field(
        30.0, gt=0, description="maximum seconds for a call; a client can ask for less with Grpc-Timeout"
    )
    commit_margin: Seconds = Field(
        1.0, ge=0, description="seconds to wait for the server's reply after a call's deadline"
    )
    body_timeout: Seconds = Field(10.0, gt=0, description="seconds for a client to send a body")
    header_timeout: Seconds = Field(10.0, gt=0, description="seconds for the headers of a request to arrive")
    idle_timeout: Seconds = Field(
        75.0,
        gt=0,
        description="seconds before a connection is closed that has no request or whose client does not read",
    )
    heartbeat: Seconds = Field(15.0, gt=0, description="idle seconds before a heartbeat on an event stream")
    max_in_flight: Annotated[int, Subject("Limits")] = Field(
        4096, ge=1, description="maximum requests in progress, until the client has read the response; more get 503"
    )
    max_streams: int = Field(1024, ge=1, description="maximum open event streams among these requests; more get 503")
    max_connections: int = Field(
        0,
        ge=0,
        description="maximum client connections; a new one replaces the longest idle one, or gets 503 if none is idle;"
        " also limited by the process's open file limit; 0: 10000",
    )
    max_connections_per_client: int = Field(
        0,
        ge=0,
        description="maximum connections from one address, more get 503; do not set it behind a proxy, where all"
        " clients share one address; 0: no limit",
    )
    max_buffered: Bytes = Field(
        64 << 20,
        ge=1 << 20,
        description="maximum bytes of incomplete requests, and as many of unread responses, over all clients; above it"
        " the slowest connections are closed",
    )
    max_body: Bytes = Field(1 << 20, ge=1, description="maximum bytes of a body")
    max_header: Bytes = Field(16384, ge=1024, description="maximum bytes of the request line or of one header")
    max_depth: int = Field(100, ge=1, description="maximum levels of nested objects and arrays in a body")
    max_values: int = Field(5000, ge=1, description="maximum total of object members and array elements in a body")
    public_url: Annotated[Url | None, Subject("Headers, proxies and browsers")] = Field(
        None, description="URL that links in responses start with, such as https://api.example.com"
    )
    trusted_proxy: Networks = Field(
        [],
        description="network of proxies whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host headers are"
        " trusted; may be repeated, or a comma-separated list",
    )
    header_in: HeadersIn = Field(
        [],
        description="request header to forward to the server as metadata: a name, or a prefix such as X-Tenant-*;"
        " Grpc-Metadata-* forwards Grpc-Metadata-NAME as NAME; never credentials, identities and headers of proxies;"
        " may be repeated, or a comma-separated list",
    )
    header_out: HeadersOut = Field(
        [],
        description="metadata of the server to return as response header: a name, or a prefix such as X-Tenant-*;"
        " Grpc-Metadata-* returns NAME as Grpc-Metadata-NAME; never content, CORS and security headers;"
        " may be repeated, or a comma-separated list",
    )
    cors_origin: Origins = Field(
        [], description="origin whose pages may read responses in a browser (CORS), or * for all; may be repeated"
    )
    drain_notice: Annotated[Seconds, Subject("Stopping")] = Field(
        3.0,
        ge=0,
        description="seconds to keep accepting requests after a stop signal if /healthz or /readyz is polled, so that"
        " load balancers can send traffic elsewhere",
    )
    drain_timeout: Seconds = Field(
        10.0, ge=0, description="seconds for requests in progress to finish when the gateway stops"
    )
    stop_on_stdin_close: bool = Field(
        False, description="drain when standard input closes, so that the gateway does not outlive its parent"
    )
    log_level: MinimumLevel = Field("info")
    slow_call: Seconds = Field(
        1.0,
        ge=0,
        description="seconds from which a request is logged as slow, with the time of each of its stages; 0: never",
    )
    traces: Traces = Field(False)

    @property
    def api_version(self) -> str | None:
        """Version of the API if the packaged set is served; None for another set, which the program does not know."""
        version_of = self.program.api_version
        return version_of() if version_of is not None and self.descriptor_set is None else None

    @classmethod
    def incomplete(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield each missing setting with the reason; most are required by another setting that is given."""
        return _incomplete(given, cls.program)


@cache
def settings_of(program: Program) -> type[Settings]:
    """Return the settings class with the name and the environment prefix of a program."""

    class Own(Settings):
        model_config = SettingsConfigDict(env_prefix=program.environment_prefix, cli_prog_name=program.name)

    Own.program, Own.distribution = program, program.distribution
    Own.variables_elsewhere = program.variables_elsewhere
    Own.__doc__ = Settings.__doc__
    return Own


def load(arguments: Sequence[str], program: Program = RESTMAP_GATEWAY) -> Settings:
    """Read all settings of a program; list all invalid ones on standard error and exit with 2 if there are any."""
    return settings.load(settings_of(program), arguments)
