"""The part that all calls have in common, unary or streaming: request id, identity, status and log line."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

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
from restmap.multiplexing.call_handler import Trailers
from restmap.multiplexing.call_handler import UnaryCall as UnaryCall

REQUEST_ID = "x-openstack-request-id"
"""Metadata key of the request id, in requests and responses."""

CLIENT_REQUEST_ID = "x-client-request-id"
"""Metadata key of the request id chosen by a gateway's client."""

_REQUEST_ID = re.compile(r"req-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

FORWARDED_FOR = "x-forwarded-for"
"""Metadata key of the client's address, set by a gateway."""

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


class Reception:
    """Receives calls: identifies the caller, turns failures into a status, and logs one line for each call."""

    def __init__(
        self,
        identity: IdentityProvider,
        new_request_id: Callable[[], str],
        limiter: Limiter,
        gateways: GatewayPeers,
        observer: CallObserver | None = None,
    ) -> None:
        """Create the reception of a server.

        Args:
            identity: provider that identifies callers.
            new_request_id: returns the id of a call that does not come through one of our gateways.
            limiter: limits beyond which calls are refused as overload.
            gateways: connections from gateways, whose metadata about clients is trusted.
            observer: receives measurements.
        """
        self.observer = observer
        self.limiter = limiter
        self._identity = identity
        self._new_request_id = new_request_id
        self._gateways = gateways
        self._log = structlog.get_logger("server.call")
        self._log_of_strangers = RateLimitedLog("server.call", burst=100, per_second=20.0)

    async def carry_out(
        self, call: UnaryCall, about: About | None, work: Callable[[Known], Awaitable[bytes]]
    ) -> PipelineResult:
        """Carry out a call by ``work`` and log one line. Raises nothing except cancellation.

        Args:
            call: the call.
            about: returns the objects that a request would change; None: the call is read-only.
            work: returns the response, or raises a failure.
        """
        began, observer = time.perf_counter(), self.observer
        if observer is not None:
            observer.began(call.method)
        known = self._known(call)
        outcome = "CANCELLED"
        failed: Status | None = None
        try:
            answer = await self._answered(known, work)
            failed = answer.status
            outcome = failed.code.name if failed else "OK"
            return answer
        finally:
            reason = failed.reason if failed else None
            seconds = time.perf_counter() - began
            if observer is not None:
                observer.ended(call.method, outcome, reason or "", seconds)
            milliseconds = round(seconds * 1000, 2)
            audited = outcome_of_call(about, outcome, reason or "", known.request)
            self._write(known, "call", code=outcome, reason=reason, ms=milliseconds, **audited)

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
        began = time.perf_counter()
        try:
            known.principal = principal = await self._identity.identify(known.credentials)
        except (TokenInvalid, ProxyRequired):
            # Count after the check: a valid credential always passes, however many invalid ones its address sent.
            self.limiter.identity_failed(known.credentials.client)
            raise
        finally:
            if self.observer is not None:
                self.observer.identified(time.perf_counter() - began)
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
