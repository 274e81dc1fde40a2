"""The part that all calls have in common, unary or streaming: request id, identity, status and log line."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from backup_sharing.errors import Failure, InvalidArgument, ProxyRequired, TokenInvalid, TokenMissing, Violation
from backup_sharing.identity.interface import PROXY_CHALLENGE, Credentials, GatewayPeers, IdentityProvider
from backup_sharing.model import Principal
from backup_sharing.rpc import status
from backup_sharing.rpc.admission.limits import Limiter, client_of
from backup_sharing.rpc.audit import About, outcome_of_call, shown
from backup_sharing.rpc.status import Status
from programkit.rate_limited_log import RateLimitedLog
from programkit.stages import Stages
from programkit.tracing import rpc
from programkit.tracing.spans import NO_TRACER, Kind, Span, Tracer, inside
from programkit.tracing.trace_context import TRACEPARENT, TRACESTATE
from restmap.multiplexing.call_handler import Trailers
from restmap.multiplexing.call_handler import UnaryCall as UnaryCall

REQUEST_ID = "x-openstack-request-id"
"""Metadata key of the request id, in requests and responses."""

CLIENT_REQUEST_ID = "x-client-request-id"
"""Metadata key of the request id chosen by a gateway's client."""

_REQUEST_ID = re.compile(r"req-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

FORWARDED_FOR = "x-forwarded-for"
"""Metadata key of the client's address, set by a gateway."""

STAGES_OF_BATCH = frozenset({"waiting", "lock", "decision", "commit"})
"""Stages that a change shares with the others of its batch, or in which it waits for them."""

_LOOPBACK = ("127.0.0.1", "[::1]", "%5B::1%5D", "")


class CallObserver(Protocol):
    """Receives measurements of calls. Its methods must return at once and raise nothing."""

    def began(self, method: str) -> None:
        """A call has begun."""
        ...

    def ended(self, method: str, code: str, reason: str, seconds: float) -> None:
        """A call has ended, with the name of its gRPC code, and the reason of its failure or ""."""
        ...

    def identified(self, seconds: float) -> None:
        """The caller of a call was identified, or refused, in this time."""
        ...

    def had_turn(self, seconds: float) -> None:
        """A call that had to wait for its turn waited for this time."""
        ...


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """The result of a call: a response or a status."""

    response: bytes
    status: Status | None
    """The error; None: OK."""
    trailers: Trailers


@dataclass(slots=True)
class Known:
    """Facts about a call for the log, filled in as the call proceeds."""

    call: UnaryCall
    request_id: str
    client_request_id: str
    """Request id that the client chose; empty: none. It helps to find calls, but need not be unique."""
    client: str
    """Address of the client; empty if unknown."""
    credentials: Credentials
    principal: Principal | None = None
    request: Message | None = None
    stages: Stages = field(default_factory=Stages)
    """The time that the stages of the call took."""


class Reception:
    """Receives calls: identifies the caller, turns failures into a status, and logs one line for each call."""

    def __init__(
        self,
        identity: IdentityProvider,
        new_request_id: Callable[[], str],
        limiter: Limiter,
        gateways: GatewayPeers,
        observer: CallObserver | None = None,
        tracer: Tracer = NO_TRACER,
        slow_seconds: float = 0.0,
    ) -> None:
        """Create the reception of a server.

        Args:
            identity: provider that identifies callers.
            new_request_id: returns the id of a call that does not come through one of our gateways.
            limiter: limits beyond which calls are refused as overload.
            gateways: connections from gateways, whose metadata about clients is trusted.
            observer: receives measurements.
            tracer: begins the span of each call.
            slow_seconds: seconds from which a unary call is logged with its stages; 0: never.
        """
        self.observer = observer
        self.limiter = limiter
        self._tracer = tracer
        self._slow_seconds = slow_seconds
        self._identity = identity
        self._new_request_id = new_request_id
        self._gateways = gateways
        self._log = structlog.get_logger("server.call")
        self._log_of_strangers = RateLimitedLog("server.call", burst=100, per_second=20.0)
        self._slow_log = RateLimitedLog("server.call", burst=20, per_second=1.0)

    async def carry_out(
        self,
        call: UnaryCall,
        about: About | None,
        work: Callable[[Known], Awaitable[bytes]],
        *,
        may_be_slow: bool = False,
    ) -> PipelineResult:
        """Carry out a call by ``work`` in a span, and log one line. Raises nothing except cancellation.

        Args:
            call: the call.
            about: returns the objects that a request would change; None: the call is read-only.
            work: returns the response, or raises a failure.
            may_be_slow: whether the call may take any time, such as a watch.
        """
        if self.observer is not None:
            self.observer.began(call.method)
        metadata = call.metadata
        span = self._tracer.received(rpc.name_of(call.method), metadata.get(TRACEPARENT), metadata.get(TRACESTATE))
        if span is None:
            return await self._carry_out(call, about, work, None, may_be_slow=may_be_slow)
        with inside(span):
            return await self._carry_out(call, about, work, span, may_be_slow=may_be_slow)

    async def _carry_out(
        self,
        call: UnaryCall,
        about: About | None,
        work: Callable[[Known], Awaitable[bytes]],
        span: Span | None,
        *,
        may_be_slow: bool,
    ) -> PipelineResult:
        known = self._known(call)
        outcome = grpc.StatusCode.CANCELLED
        failed: Status | None = None
        try:
            answer = await self._answered(known, work)
            failed = answer.status
            outcome = failed.code if failed else grpc.StatusCode.OK
            return answer
        finally:
            reason = failed.reason if failed else None
            ended = time.perf_counter()
            seconds = ended - known.stages.began
            if self.observer is not None:
                self.observer.ended(call.method, outcome.name, reason or "", seconds)
            audited = outcome_of_call(about, outcome.name, reason or "", known.request)
            self._write(known, "call", code=outcome.name, reason=reason, ms=round(seconds * 1000, 2), **audited)
            if self._slow_seconds and seconds >= self._slow_seconds and not may_be_slow:
                self._log_slow(known, outcome.name, ended)
            if span is not None:
                _end(span, known, outcome)

    def refused(self, method: str, refusal: Status) -> None:
        """Count a call that was refused before it began: there is no log line of it."""
        if self.observer is not None:
            self.observer.began(method)
            self.observer.ended(method, refusal.code.name, refusal.reason, 0.0)

    def log_begin(self, known: Known) -> None:
        """Log that a call has begun which may take long."""
        self._write(known, "call begins")

    async def principal(self, known: Known) -> Principal:
        """Identify the caller; see `IdentityProvider.identify` for the failures."""
        try:
            known.principal = principal = await self._identity.identify(known.credentials)
        except (TokenInvalid, ProxyRequired):
            # Count after the check: a valid credential always passes, however many invalid ones its address sent.
            self.limiter.identity_failed(known.credentials.client)
            raise
        finally:
            seconds = known.stages.end("identity")
            if self.observer is not None:
                self.observer.identified(seconds)
        return principal

    def _known(self, call: UnaryCall) -> Known:
        is_by_gateway = self._gateways.includes(call.peer)
        request_id, client_request_id = self._request_ids(call, is_by_gateway=is_by_gateway)
        client = call.metadata.get(FORWARDED_FOR, "") if is_by_gateway else _host_of(call.peer.address)
        counted = client_of(client)
        credentials = Credentials(call.metadata, call.peer, counted, self.limiter.is_suspect(counted))
        return Known(call, request_id, client_request_id, client, credentials)

    def _request_ids(self, call: UnaryCall, *, is_by_gateway: bool) -> tuple[str, str]:
        """Return the request id, generated here or by one of our gateways, and the client's request id or ""."""
        given, of_client = call.metadata.get(REQUEST_ID, ""), call.metadata.get(CLIENT_REQUEST_ID, "")
        given = given if given and _REQUEST_ID.fullmatch(given) else ""
        of_client = of_client if of_client and _REQUEST_ID.fullmatch(of_client) else ""
        if given and is_by_gateway:
            return given, of_client
        return self._new_request_id(), of_client or given

    async def _answered(self, known: Known, work: Callable[[Known], Awaitable[bytes]]) -> PipelineResult:
        request_id = known.request_id
        trailers: list[tuple[str, str | bytes]] = [(REQUEST_ID, request_id)]
        try:
            return PipelineResult(await work(known), None, trailers)
        except Failure as failure:
            failed = status.of_failure(failure, request_id)
            if isinstance(failure, TokenMissing | TokenInvalid):
                trailers.append(("www-authenticate", self._identity.challenge))
            elif isinstance(failure, ProxyRequired):
                trailers.append(("proxy-authenticate", PROXY_CHALLENGE))
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - the caller gets only the request id, whatever a defect raises
            failed = status.of_defect(request_id)
            self._log.exception("defect", method=known.call.method, request_id=request_id)
        return PipelineResult(b"", failed, [*trailers, ("grpc-status-details-bin", failed.details)])

    def _log_slow(self, known: Known, code: str, ended: float) -> None:
        self._slow_log.warning(
            "slow call",
            method=known.call.method,
            code=code,
            ms=round((ended - known.stages.began) * 1000, 2),
            stages_ms=known.stages.milliseconds(ended),
            batch_size=known.stages.batch.size if known.stages.batch else None,
            request_id=known.request_id,
        )

    def _write(self, known: Known, event: str, **values: object) -> None:
        call, principal = known.call, known.principal
        # A log line is several times as large as a call, so unknown callers could fill the disk.
        log = self._log if principal else self._log_of_strangers
        log.info(
            event,
            method=call.method,
            **values,
            request_id=known.request_id,
            project_id=shown(principal.project_id) if principal else None,
            user_id=shown(principal.user_id) if principal else None,
            client=shown(known.client) or None,
            peer=call.peer.address,
            **({"client_request_id": known.client_request_id} if known.client_request_id else {}),
        )


def _end(span: Span, known: Known, outcome: grpc.StatusCode) -> None:
    """End the span of a call, with a span for each of its stages."""
    if span.is_recording:
        for stage in known.stages.all():
            part = span.child(stage.name, Kind.INTERNAL, stage.began)
            if known.stages.batch is not None and stage.name in STAGES_OF_BATCH:
                number, size = known.stages.batch
                part.describe({"batch.number": number, "batch.size": size})
            part.end(stage.ended)
        span.describe({"request.id": known.request_id})
        rpc.describe(span, known.call.method, outcome.value[0], outcome.name, is_server=True)
    span.end()


@lru_cache(maxsize=1024)
def _host_of(peer: str) -> str:
    """Return the address of a direct caller; empty for a caller on this machine."""
    address = peer.partition(":")[2].rpartition(":")[0]
    return "" if address in _LOOPBACK else address


def parsed(kind: type[Message], serialized: bytes) -> Message:
    """Return a request.

    Raises:
        InvalidArgument: the bytes are not a message of this type.
    """
    try:
        return kind.FromString(serialized)
    except DecodeError as error:
        description = f"The request is not a serialized {kind.DESCRIPTOR.full_name}."
        raise InvalidArgument([Violation("", description)]) from error
