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
from typing import Any

import structlog
from google.protobuf.message import DecodeError, Message

from server import policy
from server.errors import Failure, InvalidArgument, Overloaded, TokenInvalid, TokenMissing, Violation
from server.identity.interface import Credentials, IdentityProvider
from server.model import Principal
from server.rpc import status
from server.rpc.status import Status
from server.sharing import Caller

REQUEST_ID = "x-openstack-request-id"
"""Metadata key of the request id, in calls and answers."""

_REQUEST_ID = re.compile(r"req-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Trailers = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a service: how its bytes become a message, and what it does."""

    name: str
    """``/package.Service/Method``."""
    request: type[Message]
    project_id: Callable[[Any], str] | None
    """Whose affairs a request is about; None: those of no project in particular."""
    handle: Callable[[Caller, Any], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it came in."""

    method: str
    request: bytes
    metadata: Mapping[str, str]
    """Lower-case keys, text values; of a repeated key the last."""
    deadline: float | None
    """Reading of ``time.monotonic()``; None: no deadline."""
    peer: str


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ended: with a response, or with a status."""

    response: bytes
    status: Status | None
    """None: OK."""
    trailers: Trailers


class Pipeline:
    """Carries out calls of the methods it is given, and of no others."""

    def __init__(
        self,
        methods: Sequence[Method],
        identity: IdentityProvider,
        commit_margin: float,
        new_request_id: Callable[[], str],
        max_in_flight: int = 4096,
    ) -> None:
        """Check that each method has its permission in the policy.

        Args:
            methods: everything that can be called.
            identity: who says who is calling.
            commit_margin: seconds before a deadline from which nothing is committed any more.
            new_request_id: makes the id of a call that brings none.
            max_in_flight: calls carried out at once; more are refused as overload.

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
        self._max_in_flight = max_in_flight
        self._in_flight = 0
        self._log = structlog.get_logger("server.call")

    def serves(self, method: str) -> bool:
        """Whether there is a method of this name, ``/package.Service/Method``."""
        return method in self._methods

    async def carry_out(self, call: Call) -> Answer:
        """Answer a call of a method that is served; never raises but for cancellation. Writes one line to the log."""
        request_id = call.metadata.get(REQUEST_ID, "")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = self._new_request_id()
        began = time.perf_counter()
        who: list[Principal] = []
        outcome = "CANCELLED"
        failed: Status | None = None
        self._in_flight += 1
        try:
            answer = await self._answered(call, request_id, who)
            failed = answer.status
            outcome = failed.code.name if failed else "OK"
            return answer
        finally:
            self._in_flight -= 1
            self._log.info(
                "call",
                method=call.method,
                code=outcome,
                reason=failed.reason if failed else None,
                ms=round((time.perf_counter() - began) * 1000, 2),
                request_id=request_id,
                project_id=who[0].project_id if who else None,
                user_id=who[0].user_id if who else None,
                peer=call.peer,
            )

    async def _answered(self, call: Call, request_id: str, who: list[Principal]) -> Answer:
        trailers: list[tuple[str, str | bytes]] = [(REQUEST_ID, request_id)]
        try:
            return Answer(await self._use_case(call, request_id, who), None, trailers)
        except Failure as failure:
            failed = status.of_failure(failure, request_id)
            if isinstance(failure, TokenMissing | TokenInvalid):
                trailers.append(("www-authenticate", self._identity.challenge))
        except asyncio.CancelledError:
            raise
        except Exception:  # noqa: BLE001 - whatever a defect raises, the caller learns only its request id
            failed = status.of_defect(request_id)
            self._log.exception("defect", method=call.method, request_id=request_id)
        return Answer(b"", failed, [*trailers, ("grpc-status-details-bin", failed.details)])

    async def _use_case(self, call: Call, request_id: str, who: list[Principal]) -> bytes:
        method, permission = self._methods[call.method]
        if self._in_flight > self._max_in_flight:
            raise Overloaded("More calls are in progress than the server takes on; try again later.")
        principal = await self._identity.identify(Credentials(call.metadata))
        who.append(principal)
        try:
            request = method.request.FromString(call.request)
        except DecodeError as error:
            description = f"The request is not a serialized {method.request.DESCRIPTOR.full_name}."
            raise InvalidArgument([Violation("", description)]) from error
        policy.authorize(principal, permission, method.project_id(request) if method.project_id else None)
        commit_by = None if call.deadline is None else call.deadline - self._commit_margin
        response = await method.handle(Caller(principal, request_id, commit_by), request)
        return response.SerializeToString()
