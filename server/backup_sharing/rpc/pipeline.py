"""The pipeline of every call: request id → log → errors → identity → permission → use case.

One chain of plain functions for unary and multiplexed calls: it takes a serialized request and returns a
serialized response or a status.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from google.protobuf.message import Message

from backup_sharing.errors import DeadlineTooClose
from backup_sharing.identity.interface import GatewayPeers, IdentityProvider
from backup_sharing.rpc.admission.deadline import Deadline
from backup_sharing.rpc.admission.limits import Limiter, Limits
from backup_sharing.rpc.admission.turns import Turns, turns_for
from backup_sharing.rpc.audit import About
from backup_sharing.rpc.reception import CallObserver, Known, Reception, parsed
from backup_sharing.rpc.reception import PipelineResult as PipelineResult
from backup_sharing.rpc.reception import UnaryCall as UnaryCall
from backup_sharing.timers import Timers
from backup_sharing.usecases import policy
from backup_sharing.usecases.sharing import Caller
from programkit.tracing.spans import NO_TRACER, Tracer

NO_LIMITS = Limits()

NO_GATEWAYS = GatewayPeers(())

_MARGIN_SHARE = 0.25
"""Maximum share of a call's time used as commit margin, so that a short deadline leaves time for the call."""

_ANSWER_SHARE = 0.2
"""Share of the commit margin reserved to send the response to the caller."""


@dataclass(frozen=True, slots=True)
class ServedMethod:
    """One method of a service."""

    name: str
    """``/package.Service/Method``."""
    request: type[Message]
    project_id: Callable[[Any], str] | None
    """Returns the project that a request concerns; None: the method concerns no single project."""
    handle: Callable[[Caller, Any], Awaitable[Message]]
    about: About | None = None
    """Returns the objects that a request would change, for the audit log; None: the method is read-only."""
    cost: Callable[[Any], int] | None = None
    """Returns the cost of a change, see `backup_sharing.rpc.admission.turns`; None: 1."""

    @property
    def changes(self) -> bool:
        """Whether a call may change stored data."""
        return self.about is not None


class Pipeline:
    """Carries out calls of the given methods."""

    def __init__(
        self,
        methods: Sequence[ServedMethod],
        identity: IdentityProvider,
        commit_margin: float,
        new_request_id: Callable[[], str],
        limits: Limits = NO_LIMITS,
        gateways: GatewayPeers = NO_GATEWAYS,
        turns: Turns | None = None,
        max_seconds: float = 30.0,
        observer: CallObserver | None = None,
        tracer: Tracer = NO_TRACER,
        slow_seconds: float = 0.0,
    ) -> None:
        """Check that each method has a permission in the policy.

        Args:
            methods: the methods to serve.
            identity: provider that identifies callers.
            commit_margin: seconds before a call's deadline in which no commit may begin; less for short deadlines.
            new_request_id: returns the id of a call that does not come through one of our gateways.
            limits: limits beyond which calls are refused as overload.
            gateways: connections from gateways, whose metadata about clients is trusted.
            turns: queues for reads and changes; None: reads never wait.
            max_seconds: maximum seconds of a call, whatever its deadline.
            observer: receives measurements.
            tracer: begins the span of each call.
            slow_seconds: seconds from which a unary call is logged with its stages; 0: never.

        Raises:
            ValueError: a method has no entry in `policy.METHODS`.
        """
        unruled = [method.name for method in methods if method.name not in policy.METHODS]
        if unruled:
            raise ValueError(f"methods without a permission in the policy: {', '.join(unruled)}")
        self._methods = {method.name: (method, policy.METHODS[method.name]) for method in methods}
        self.reception = Reception(
            identity, new_request_id, Limiter(limits, time.monotonic), gateways, observer, tracer, slow_seconds
        )
        """Receives the calls; streaming calls use the same."""
        self._commit_margin = commit_margin
        self.turns = turns or turns_for(reads=2 * limits.calls, waiting_of_project=limits.calls)
        """The queues for reads and changes."""
        self._max_seconds = max_seconds
        self._timers = Timers()

    def serves(self, method: str) -> bool:
        """Return whether the method ``/package.Service/Method`` is served."""
        return method in self._methods

    async def carry_out(self, call: UnaryCall) -> PipelineResult:
        """Carry out a call of a served method and log one line. Raises nothing except cancellation."""
        method, permission = self._methods[call.method]
        return await self.reception.carry_out(call, method.about, partial(self._use_case, method, permission))

    async def _use_case(self, method: ServedMethod, permission: policy.Permission, known: Known) -> bytes:
        call, limiter = known.call, self.reception.limiter
        # Every call has a deadline, because it holds resources that other calls need.
        now = time.monotonic()
        deadline = now + self._max_seconds if call.deadline is None else min(call.deadline, now + self._max_seconds)
        if deadline <= now:
            raise DeadlineTooClose
        seconds = deadline - now
        margin = min(self._commit_margin, seconds * _MARGIN_SHARE)
        limiter.enter()
        # A change that has not reached the store by then cannot be committed; the margin leaves time to report that.
        limit = Deadline(self._timers, deadline - margin if method.changes else deadline)
        try:
            principal = await self.reception.principal(known)
            limiter.enter_project(principal.project_id)
            try:
                request = known.request = parsed(method.request, call.request)
                project_id = method.project_id(request) if method.project_id else None
                policy.authorize(principal, permission, project_id)
                answer_by = deadline - margin * _ANSWER_SHARE
                caller = Caller(principal, known.request_id, deadline - margin, answer_by, known.stages)
                return await self._in_turn(method, caller, request, limit)
            finally:
                limiter.leave_project(principal.project_id)
        except asyncio.CancelledError:
            if limit.has_cancelled():
                raise DeadlineTooClose(seconds, margin if method.changes else 0.0) from None
            raise
        except DeadlineTooClose:
            # The store knows until when, but not since when.
            raise DeadlineTooClose(seconds, margin) from None
        finally:
            limit.lift()
            limiter.leave()

    async def _in_turn(self, method: ServedMethod, caller: Caller, request: Message, limit: Deadline) -> bytes:
        # The turn's key is the caller's project, not the project of the request.
        key, cost = caller.principal.project_id, method.cost(request) if method.cost else 1
        changes = method.changes
        turns = self.turns.changes if changes else self.turns.reads
        if not turns.enter_now(key, cost):
            began = time.perf_counter()
            try:
                await turns.wait(key, cost)
            finally:
                if self.reception.observer is not None:
                    self.reception.observer.had_turn(time.perf_counter() - began)
        if caller.stages is not None:
            caller.stages.end("turn")
        try:
            if changes:
                # From here on only the store knows whether a commit has begun, and the store keeps the deadline.
                limit.lift()
            response = await method.handle(caller, request)
            serialized = response.SerializeToString()
            if caller.stages is not None:
                caller.stages.end("work")
            return serialized
        finally:
            turns.leave(key, cost)
