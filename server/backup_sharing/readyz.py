"""The checks of ``/readyz``: store, schema and identity, each from what the server knows already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backup_sharing.identity.state import ProviderState, StateOf
from backup_sharing.rpc.health import Health
from backup_sharing.store.batched import BatchedStore
from programkit.admin_http.readyz import Check, Condition


def checks(serving: Health, store: BatchedStore, identity: Sequence[StateOf]) -> Mapping[str, Check]:
    """Return the checks by name.

    Args:
        serving: health of the server, which pings the store at most once per second for everybody.
        store: the store.
        identity: return the states of the identity providers.
    """

    async def of_store() -> Condition:
        problem = await serving.store_problem()
        return Condition(ok=problem is None, reason=problem or "")

    async def of_schema() -> Condition:
        return _schema(store.missing_migrations)

    async def of_identity() -> Condition:
        return _identity([state() for state in identity])

    return {"store": of_store, "schema": of_schema, "identity": of_identity}


def _schema(missing: Sequence[str] | None) -> Condition:
    if missing is None:
        return Condition(ok=False, reason="It is not known yet whether migrations are missing.")
    if not missing:
        return Condition(ok=True)
    reason = f"The database needs migrations ({', '.join(missing)}): run 'backup-sharing migrate'."
    return Condition(ok=False, reason=reason, details={"missing": list(missing)})


def _identity(states: Sequence[ProviderState]) -> Condition:
    """Return the condition of all providers.

    A provider that fails makes the server not unready: other providers and cached tokens still work, and all servers
    share an identity service, so that its outage would otherwise end all calls.
    """
    details = {"providers": [{"name": one.name, "problem": one.problem} for one in states]}
    return Condition(ok=True, reason=" ".join(one.problem for one in states if one.problem), details=details)
