"""Whether any server behind can be used, by what is known of the servers already; asks none of them."""

from __future__ import annotations

from collections.abc import Sequence

from programkit.admin_http.readyz import Condition
from restmap_gateway.upstream.health import ServerHealth, ServerState


def why_none_reached(servers: Sequence[ServerHealth]) -> str | None:
    """Return why no server can be reached; None: at least one can.

    A server that reports that it accepts no calls is reached: its answers to calls say more than a load balancer could,
    and some calls, such as reads, may succeed.
    """
    if any(server.is_reached for server in servers):
        return None
    if not servers:
        return "No server is known to this gateway."
    if any(server.state is ServerState.UNKNOWN for server in servers):
        return "No server behind this gateway has been reached yet."
    return "No server behind this gateway can be reached."


def condition(servers: Sequence[ServerHealth]) -> Condition:
    """Return whether at least one server accepts calls; the details name each server with its state."""
    details = {"servers": [{"address": one.address, "state": one.state.name.lower()} for one in servers]}
    serving = sum(server.state is ServerState.SERVING for server in servers)
    if serving == len(servers) > 0:
        return Condition(ok=True, details=details)
    if serving:
        return Condition(ok=True, reason=f"{serving} of {len(servers)} servers accept calls.", details=details)
    reason = why_none_reached(servers) or "Each server that can be reached reports that it accepts no calls."
    return Condition(ok=False, reason=reason, details=details)
