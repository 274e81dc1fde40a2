"""The way of every call: request id → log → errors → identity → permission → use case.

One chain of plain functions, whatever door a call came through: it takes the bytes of a request
and answers the bytes of a response, or a status.
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
from backup_sharing.rpc.audit import shown
from backup_sharing.rpc.status import Status
from backup_sharing.timers import Timers
from backup_sharing.usecases import policy
from backup_sharing.usecases.sharing import Caller
from programkit.sparing import Sparing
from restmap.multiplexing.carrier import Call as Call
from restmap.multiplexing.carrier import Trailers

REQUEST_ID = "x-openstack-request-id"
"""Metadata key of the request id, in calls and answers."""

CLIENT_REQUEST_ID = "x-client-request-id"
"""Metadata key of the id that a gateway's client gave its request."""

_REQUEST_ID = re.compile(r"req-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

FORWARDED_FOR = "x-forwarded-for"
"""Metadata key of the client's address, as a gateway knows it."""

NO_LIMITS = Limits()

NO_LINKS = Links(())

_LOOPBACK = ("127.0.0.1", "[::1]", "%5B::1%5D", "")

_MARGIN_SHARE = 0.25
"""Of the time that a call has, the most that the commit margin takes: otherwise a short deadline would leave none."""

_ANSWER_SHARE = 0.2
"""Of the margin, what is kept for the answer's way back to the caller."""

_REFUSALS = ("UNAUTHENTICATED", "PERMISSION_DENIED")


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service: how its bytes become a message, and what it does."""

    name: str
    """``/package.Service/Method``."""
    request: type[Message]
    project_id: Callable[[Any], str] | None
    """Whose affairs a request is about; None: those of no project in particular."""
    handle: Callable[[Caller, Any], Awaitable[Message]]
    about: Callable[[Any], Mapping[str, object]] | None = None
    """What a request would change, for the audit; None: it changes nothing."""
    cost: Callable[[Any], int] | None = None
    """What a request to change something costs: see `backup_sharing.rpc.admission.turns`; None: 1."""

    @property
    def changes(self) -> bool:
        """Whether a call may change what is stored."""
        return self.about is not None


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ended: with a response, or with a status."""

    response: bytes
    status: Status | None
    """None: OK."""
    trailers: Trailers


@dataclass(slots=True)
class _Known:
    """What is known of a call as it goes on."""

    client: str
    principal: Principal | None = None
    request: Message | None = None


class Pipeline:
    """Carries out calls of the methods it is given, and of no others."""

    def __init__(
        self,
        methods: Sequence[Method],
        identity: IdentityProvider,
        commit_margin: float,
        new_request_id: Callable[[], str],
        limits: Limits = NO_LIMITS,
        links: Links = NO_LINKS,
        turns: Turns | None = None,
        max_seconds: float = 30.0,
    ) -> None:
        """Check that each method has its permission in the policy.

        Args:
            methods: everything that can be called.
            identity: who says who is calling.
            commit_margin: seconds before a deadline from which no commit begins any more; less for short deadlines.
            new_request_id: makes the id of a call that comes through none of our gateways.
            limits: what is refused as overload.
            links: the connections whose other end may say what it knows of its clients.
            turns: what reads and changes wait for; None: no read waits.
            max_seconds: the longest that a call may take, whatever its deadline.

        Raises:
            ValueError: a method has no row in `policy.METHODS`.
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
        """Whether there is a method of this name, ``/package.Service/Method``."""
        return method in self._methods

    async def carry_out(self, call: Call) -> Answer:
        """Answer a call of a method that is served; never raises but for cancellation. Writes one line to the log."""
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
            # Whoever is not known could fill the disk: such a line is several times as large as the call.
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
                **self._audit(call.method, outcome, known.request),
            )

    def _request_ids(self, call: Call, *, is_by_gateway: bool) -> tuple[str, str]:
        """The id of a call, made by us or by one of our gateways, and the one that its client gave it, if any.

        Whoever calls chooses the second: it helps to find a call, and does not tell which call it was.
        """
        given, of_client = call.metadata.get(REQUEST_ID, ""), call.metadata.get(CLIENT_REQUEST_ID, "")
        given = given if given and _REQUEST_ID.fullmatch(given) else ""
        of_client = of_client if of_client and _REQUEST_ID.fullmatch(of_client) else ""
        if given and is_by_gateway:
            return given, of_client
        return self._new_request_id(), of_client or given

    def _audit(self, method: str, outcome: str, request: Message | None) -> Mapping[str, object]:
        """What is added to the log of a change, and of a refusal: what it was about."""
        about = self._methods[method][0].about
        if outcome == "OK" and about is None:
            return {}
        if outcome != "OK" and about is None and outcome not in _REFUSALS:
            return {}
        what = about(request) if about is not None and request is not None else {}
        return {"audit": "change" if outcome == "OK" else "refused", **what}

    async def _answered(self, call: Call, request_id: str, known: _Known) -> Answer:
        trailers: list[tuple[str, str | bytes]] = [(REQUEST_ID, request_id)]
        try:
            return Answer(await self._use_case(call, request_id, known), None, trailers)
        except Failure as failure:
            failed = status.of_failure(failure, request_id)
            if isinstance(failure, TokenMissing | TokenInvalid):
                trailers.append(("www-authenticate", self._identity.challenge))
            elif isinstance(failure, ProxyRequired):
                trailers.append(("proxy-authenticate", PROXY_CHALLENGE))
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - whatever a defect raises, the caller learns only its request id
            failed = status.of_defect(request_id)
            self._log.exception("defect", method=call.method, request_id=request_id)
        return Answer(b"", failed, [*trailers, ("grpc-status-details-bin", failed.details)])

    async def _use_case(self, call: Call, request_id: str, known: _Known) -> bytes:
        method, permission = self._methods[call.method]
        # Others need what a call takes, so that each has a deadline, if only this one.
        now = time.monotonic()
        deadline = now + self._max_seconds if call.deadline is None else min(call.deadline, now + self._max_seconds)
        if deadline <= now:
            raise DeadlineTooClose
        margin = min(self._commit_margin, (deadline - now) * _MARGIN_SHARE)
        self._gate.enter()
        # A change that has not come to the store by then could not be committed: said then, its caller still hears it.
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
        except asyncio.CancelledError as cancelled:
            raise limit.failure(cancelled) from None
        finally:
            limit.lift()
            self._gate.leave()

    async def _in_turn(self, method: Method, caller: Caller, request: Message, limit: Deadline) -> bytes:
        # The turn is one of who calls, not of whose affairs it is about.
        key, cost = caller.principal.project_id, method.cost(request) if method.cost else 1
        changes = method.changes
        turns = self._turns.changes if changes else self._turns.reads
        if not turns.enter_now(key, cost):
            await turns.wait(key, cost)
        try:
            if changes:
                # From here on only the store knows whether a commit has begun: it answers in time.
                limit.lift()
            response = await method.handle(caller, request)
            return response.SerializeToString()
        finally:
            turns.leave(key, cost)

    async def _principal(self, call: Call, address: str) -> Principal:
        client = client_of(address)
        credentials = Credentials(call.metadata, call.peer, client, self._gate.is_suspect(client))
        try:
            return await self._identity.identify(credentials)
        except (TokenInvalid, ProxyRequired):
            # Only now: a good credential always passes, however many bad ones its address sent.
            self._gate.identity_failed(client)
            raise


@lru_cache(maxsize=1024)
def _host_of(peer: str) -> str:
    """The address of who calls without a gateway; empty where it is somewhere on this machine."""
    address = peer.partition(":")[2].rpartition(":")[0]
    return "" if address in _LOOPBACK else address


def _parsed(method: Method, serialized: bytes) -> Message:
    try:
        return method.request.FromString(serialized)
    except DecodeError as error:
        description = f"The request is not a serialized {method.request.DESCRIPTOR.full_name}."
        raise InvalidArgument([Violation("", description)]) from error
