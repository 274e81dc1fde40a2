"""The pipeline of every call: request id → log → errors → identity → permission → use case.

One chain of plain functions for unary and multiplexed calls: it takes a serialized request and returns a
serialized response or a status.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import structlog
from google.protobuf.message import DecodeError, Message

from backup_sharing.errors import (
    DeadlineTooClose,
    Failure,
    InvalidArgument,
    ProxyRequired,
    TokenInvalid,
    TokenMissing,
    Violation,
)
from backup_sharing.identity.interface import PROXY_CHALLENGE, Credentials, IdentityProvider, Links
from backup_sharing.model import Principal
from backup_sharing.rpc import status
from backup_sharing.rpc.admission.deadline import Deadline
from backup_sharing.rpc.admission.limits import Gate, Limits, client_of
from backup_sharing.rpc.admission.turns import Turns, turns_for
from backup_sharing.rpc.audit import outcome_of_change, shown
from backup_sharing.rpc.status import Status
from backup_sharing.timers import Timers
from backup_sharing.usecases import policy
from backup_sharing.usecases.sharing import Caller
from programkit.sparing import Sparing
from restmap.multiplexing.carrier import Trailers
from restmap.multiplexing.carrier import UnaryCall as UnaryCall

REQUEST_ID = "x-openstack-request-id"
"""Metadata key of the request id, in requests and responses."""

CLIENT_REQUEST_ID = "x-client-request-id"
"""Metadata key of the request id chosen by a gateway's client."""

_REQUEST_ID = re.compile(r"req-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

FORWARDED_FOR = "x-forwarded-for"
"""Metadata key of the client's address, set by a gateway."""

NO_LIMITS = Limits()

NO_LINKS = Links(())

_LOOPBACK = ("127.0.0.1", "[::1]", "%5B::1%5D", "")

_MARGIN_SHARE = 0.25
"""Maximum share of a call's time used as commit margin, so that a short deadline leaves time for the call."""

_ANSWER_SHARE = 0.2
"""Share of the commit margin reserved to send the response to the caller."""

_REFUSALS = ("UNAUTHENTICATED", "PERMISSION_DENIED")


@dataclass(frozen=True, slots=True)
class ServedMethod:
    """One method of a service."""

    name: str
    """``/package.Service/Method``."""
    request: type[Message]
    project_id: Callable[[Any], str] | None
    """Returns the project that a request concerns; None: the method concerns no single project."""
    handle: Callable[[Caller, Any], Awaitable[Message]]
    about: Callable[[Any], Mapping[str, object]] | None = None
    """Returns the objects that a request would change, for the audit log; None: the method is read-only."""
    cost: Callable[[Any], int] | None = None
    """Returns the cost of a change, see `backup_sharing.rpc.admission.turns`; None: 1."""

    @property
    def changes(self) -> bool:
        """Whether a call may change stored data."""
        return self.about is not None


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """The result of a call: a response or a status."""

    response: bytes
    status: Status | None
    """The error; None: OK."""
    trailers: Trailers


@dataclass(slots=True)
class _Known:
    """Facts about a call for the log, filled in as the call proceeds."""

    client: str
    principal: Principal | None = None
    request: Message | None = None


class Pipeline:
    """Carries out calls of the given methods."""

    def __init__(
        self,
        methods: Sequence[ServedMethod],
        identity: IdentityProvider,
        commit_margin: float,
        new_request_id: Callable[[], str],
        limits: Limits = NO_LIMITS,
        links: Links = NO_LINKS,
        turns: Turns | None = None,
        max_seconds: float = 30.0,
    ) -> None:
        """Check that each method has a permission in the policy.

        Args:
            methods: the methods to serve.
            identity: provider that identifies callers.
            commit_margin: seconds before a call's deadline in which no commit may begin; less for short deadlines.
            new_request_id: returns the id of a call that does not come through one of our gateways.
            limits: limits beyond which calls are refused as overload.
            links: connections from gateways, whose metadata about clients is trusted.
            turns: queues for reads and changes; None: reads never wait.
            max_seconds: maximum seconds of a call, whatever its deadline.

        Raises:
            ValueError: a method has no entry in `policy.METHODS`.
        """
        unruled = [method.name for method in methods if method.name not in policy.METHODS]
        if unruled:
            raise ValueError(f"methods without a permission in the policy: {', '.join(unruled)}")
        self._methods = {method.name: (method, policy.METHODS[method.name]) for method in methods}
        self._identity = identity
        self._commit_margin = commit_margin
        self._new_request_id = new_request_id
        self._gate = Gate(limits, time.monotonic)
        self._links = links
        self._turns = turns or turns_for(reads=2 * limits.calls, waiting_of_project=limits.calls)
        self._max_seconds = max_seconds
        self._timers = Timers()
        self._log = structlog.get_logger("server.call")
        self._log_of_strangers = Sparing("server.call", burst=100, per_second=20.0)

    def serves(self, method: str) -> bool:
        """Return whether the method ``/package.Service/Method`` is served."""
        return method in self._methods

    async def carry_out(self, call: UnaryCall) -> PipelineResult:
        """Carry out a call of a served method and log one line. Raises nothing except cancellation."""
        began = time.perf_counter()
        is_by_gateway = self._links.includes(call.peer)
        request_id, client_request_id = self._request_ids(call, is_by_gateway=is_by_gateway)
        known = _Known(call.metadata.get(FORWARDED_FOR, "") if is_by_gateway else _host_of(call.peer.address))
        outcome = "CANCELLED"
        failed: Status | None = None
        try:
            answer = await self._answered(call, request_id, known)
            failed = answer.status
            outcome = failed.code.name if failed else "OK"
            return answer
        finally:
            principal = known.principal
            # A log line is several times as large as a call, so unknown callers could fill the disk.
            log = self._log if principal else self._log_of_strangers
            log.info(
                "call",
                method=call.method,
                code=outcome,
                reason=failed.reason if failed else None,
                ms=round((time.perf_counter() - began) * 1000, 2),
                request_id=request_id,
                project_id=shown(principal.project_id) if principal else None,
                user_id=shown(principal.user_id) if principal else None,
                client=shown(known.client) or None,
                peer=call.peer.address,
                **({"client_request_id": client_request_id} if client_request_id else {}),
                **self._audit(call.method, outcome, failed.reason if failed else "", known.request),
            )

    def _request_ids(self, call: UnaryCall, *, is_by_gateway: bool) -> tuple[str, str]:
        """Return the request id, generated here or by one of our gateways, and the client's request id or "".

        The client chooses the second id, so it helps to find calls but need not be unique.
        """
        given, of_client = call.metadata.get(REQUEST_ID, ""), call.metadata.get(CLIENT_REQUEST_ID, "")
        given = given if given and _REQUEST_ID.fullmatch(given) else ""
        of_client = of_client if of_client and _REQUEST_ID.fullmatch(of_client) else ""
        if given and is_by_gateway:
            return given, of_client
        return self._new_request_id(), of_client or given

    def _audit(self, method: str, outcome: str, reason: str, request: Message | None) -> Mapping[str, object]:
        """Return additional log values for a change or a refusal: the objects of the request."""
        about = self._methods[method][0].about
        if outcome == "OK" and about is None:
            return {}
        if outcome != "OK" and about is None and outcome not in _REFUSALS:
            return {}
        what = about(request) if about is not None and request is not None else {}
        return {"audit": outcome_of_change(outcome, reason), **what}

    async def _answered(self, call: UnaryCall, request_id: str, known: _Known) -> PipelineResult:
        trailers: list[tuple[str, str | bytes]] = [(REQUEST_ID, request_id)]
        try:
            return PipelineResult(await self._use_case(call, request_id, known), None, trailers)
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
            self._log.exception("defect", method=call.method, request_id=request_id)
        return PipelineResult(b"", failed, [*trailers, ("grpc-status-details-bin", failed.details)])

    async def _use_case(self, call: UnaryCall, request_id: str, known: _Known) -> bytes:
        method, permission = self._methods[call.method]
        # Every call has a deadline, because it holds resources that other calls need.
        now = time.monotonic()
        deadline = now + self._max_seconds if call.deadline is None else min(call.deadline, now + self._max_seconds)
        if deadline <= now:
            raise DeadlineTooClose
        seconds = deadline - now
        margin = min(self._commit_margin, seconds * _MARGIN_SHARE)
        self._gate.enter()
        # A change that has not reached the store by then cannot be committed; the margin leaves time to report that.
        limit = Deadline(self._timers, deadline - margin if method.changes else deadline)
        try:
            known.principal = principal = await self._principal(call, known.client)
            self._gate.enter_project(principal.project_id)
            try:
                request = known.request = _parsed(method, call.request)
                project_id = method.project_id(request) if method.project_id else None
                policy.authorize(principal, permission, project_id)
                caller = Caller(principal, request_id, deadline - margin, deadline - margin * _ANSWER_SHARE)
                return await self._in_turn(method, caller, request, limit)
            finally:
                self._gate.leave_project(principal.project_id)
        except asyncio.CancelledError:
            if limit.has_cancelled():
                raise DeadlineTooClose(seconds, margin if method.changes else 0.0) from None
            raise
        except DeadlineTooClose:
            # The store knows until when, but not since when.
            raise DeadlineTooClose(seconds, margin) from None
        finally:
            limit.lift()
            self._gate.leave()

    async def _in_turn(self, method: ServedMethod, caller: Caller, request: Message, limit: Deadline) -> bytes:
        # The turn's key is the caller's project, not the project of the request.
        key, cost = caller.principal.project_id, method.cost(request) if method.cost else 1
        changes = method.changes
        turns = self._turns.changes if changes else self._turns.reads
        if not turns.enter_now(key, cost):
            await turns.wait(key, cost)
        try:
            if changes:
                # From here on only the store knows whether a commit has begun, and the store keeps the deadline.
                limit.lift()
            response = await method.handle(caller, request)
            return response.SerializeToString()
        finally:
            turns.leave(key, cost)

    async def _principal(self, call: UnaryCall, address: str) -> Principal:
        client = client_of(address)
        credentials = Credentials(call.metadata, call.peer, client, self._gate.is_suspect(client))
        try:
            return await self._identity.identify(credentials)
        except (TokenInvalid, ProxyRequired):
            # Count after the check: a valid credential always passes, however many invalid ones its address sent.
            self._gate.identity_failed(client)
            raise


@lru_cache(maxsize=1024)
def _host_of(peer: str) -> str:
    """Return the address of a direct caller; empty for a caller on this machine."""
    address = peer.partition(":")[2].rpartition(":")[0]
    return "" if address in _LOOPBACK else address


def _parsed(method: ServedMethod, serialized: bytes) -> Message:
    try:
        return method.request.FromString(serialized)
    except DecodeError as error:
        description = f"The request is not a serialized {method.request.DESCRIPTOR.full_name}."
        raise InvalidArgument([Violation("", description)]) from error
