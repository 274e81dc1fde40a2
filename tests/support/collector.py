"""A collector of OpenTelemetry's protocol (OTLP), over gRPC and over HTTP, that keeps what it receives."""

from __future__ import annotations

import asyncio
import gzip
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service

from tests.support.programs import PATIENCE

Attribute = str | int | bool | float


@dataclass(frozen=True, slots=True)
class Received:
    """A span as the collector received it."""

    program: str
    """The service's name."""
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    began: int
    ended: int
    is_error: bool
    attributes: Mapping[str, Attribute]


class Collector:
    """The received spans."""

    def __init__(self) -> None:
        self._spans: list[Received] = []
        self._changed = threading.Condition()

    def take(self, request: pb.ExportTraceServiceRequest) -> None:
        with self._changed:
            self._spans += _spans(request)
            self._changed.notify_all()

    async def wait_for(self, trace_id: str, is_whole: Callable[[Sequence[Received]], bool]) -> Sequence[Received]:
        """Wait until the received spans of a trace are all; return them."""
        return await asyncio.to_thread(self._wait_for, trace_id, is_whole)

    def _wait_for(self, trace_id: str, is_whole: Callable[[Sequence[Received]], bool]) -> Sequence[Received]:

        def of_trace() -> list[Received]:
            return [span for span in self._spans if span.trace_id == trace_id]

        with self._changed:
            arrived = self._changed.wait_for(lambda: is_whole(of_trace()), PATIENCE)
            assert arrived, f"only these arrived: {of_trace()}"
            return of_trace()

    def spans(self) -> Sequence[Received]:
        with self._changed:
            return list(self._spans)


class _Service(service.TraceServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(  # noqa: N802 - the name of the gRPC method
        self, request: pb.ExportTraceServiceRequest, _: object
    ) -> pb.ExportTraceServiceResponse:
        self._collector.take(request)
        return pb.ExportTraceServiceResponse()


@contextmanager
def over_grpc(collector: Collector) -> Iterator[Mapping[str, str]]:
    """Receive over gRPC; yield the variables with which programs send there."""
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    service.add_TraceServiceServicer_to_server(_Service(collector), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    finally:
        server.stop(grace=None).wait(PATIENCE)


@contextmanager
def over_http(collector: Collector) -> Iterator[Mapping[str, str]]:
    """Receive over HTTP; yield the variables with which programs send there."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            is_ours = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
            if is_ours:
                collector.take(pb.ExportTraceServiceRequest.FromString(body))
            self.send_response(200 if is_ours else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        yield {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)


def _spans(request: pb.ExportTraceServiceRequest) -> Iterator[Received]:
    for of_program in request.resource_spans:
        program = str(_attributes(of_program.resource.attributes)["service.name"])
        for scope in of_program.scope_spans:
            for span in scope.spans:
                yield Received(
                    program,
                    span.name,
                    span.kind,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code == 2,
                    _attributes(span.attributes),
                )


def _attributes(attributes: object) -> Mapping[str, Attribute]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}  # type: ignore[attr-defined]
