"""Setup of the configured identity providers."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from backup_sharing.config import Settings
from backup_sharing.identity.breaker import Breaker
from backup_sharing.identity.cache import TokenCache
from backup_sharing.identity.chain import Chain
from backup_sharing.identity.interface import GatewayPeers, IdentityProvider
from backup_sharing.identity.keystone import KeystoneTokens
from backup_sharing.identity.keystone_client import KeystoneClient, ServiceUser
from backup_sharing.identity.mtls import Certificates
from backup_sharing.identity.proxy import ProxyIdentity
from backup_sharing.identity.roles import RoleRules
from backup_sharing.identity.state import ProviderState, StateOf
from backup_sharing.identity.token_file.watching import TokenFile
from backup_sharing.identity.validation_queues import ValidationQueues, WaitingLimits
from backup_sharing.model import Principal

_REFUSED_SECONDS = 5.0
"""Seconds to cache a refused token; short, because a refused token may become valid."""

_AT_ONCE = 32
"""Maximum concurrent requests to Keystone."""

_WAITING_TOKENS = 250
"""Maximum new tokens of one address that wait for Keystone: about one second's work at 240 responses per second."""

_WAITING_CALLS, _WAITING_CALLS_OF_ONE = 2000, 500
"""Maximum calls that wait for the validation of a new token: of all addresses, and of one."""

_TRY_AFTER = 5
"""Failed requests to Keystone after which a trial is due, see `Breaker`."""

_TRY_AGAIN_SECONDS = 2.0
"""Seconds between two trials of Keystone; after a failed trial, no other request is sent until one succeeds."""


class CannotIdentify(Exception):
    """A provider cannot be set up; the message names the setting."""


class IdentityObserver(Protocol):
    """Receives measurements of identity providers. Its methods must return at once and raise nothing."""

    def keystone_is_used(self, cache: TokenCache, breaker: Breaker) -> None:
        """Keystone is configured, with this cache and this breaker."""
        ...

    def keystone_was_asked(self, outcome: str, seconds: float) -> None:
        """A request to Keystone ended, with one of `backup_sharing.identity.keystone_client.OUTCOMES`."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """All configured providers."""

    provider: IdentityProvider
    """The providers as one."""
    states: Sequence[StateOf]
    """Return the present state of each, in the order in which they are asked."""


def providers(
    settings: Settings, tokens: TokenFile | None, cleanups: AsyncExitStack, observer: IdentityObserver | None = None
) -> Identity:
    """Return the configured providers.

    Args:
        settings: settings of the server.
        tokens: the token file, if there is one.
        cleanups: closes the providers.
        observer: receives measurements.

    Raises:
        CannotIdentify: a file cannot be read.
    """
    found: list[IdentityProvider] = []
    states: list[StateOf] = []
    gateways = GatewayPeers(settings.gateway_peer)
    if tokens is not None:
        found.append(tokens.provider)
        states.append(tokens.state)
    if settings.keystone_url is not None:
        keystone, state = _keystone(settings, settings.keystone_url, gateways, cleanups, observer)
        found.append(keystone)
        states.append(state)
    if settings.client:
        states.append(partial(ProviderState, "certificates"))
        found.append(Certificates(dict(map(_client, settings.client)), gateways))
    if settings.proxy_credentials is not None:
        known = _secret("--proxy-credentials", settings.proxy_credentials).split()
        # First in the chain, so that a call through the proxy always has the identity that the proxy names.
        found.insert(0, ProxyIdentity(known, gateways, _rules(settings, {}), only=not found))
        states.insert(0, partial(ProviderState, "proxy"))
    return Identity(found[0] if len(found) == 1 and found[0].challenge else Chain(found), states)


async def keystone_problem(settings: Settings) -> str:
    """Return why Keystone cannot be used with these settings, which must name one; empty if it can.

    Raises:
        CannotIdentify: a file cannot be read.
    """
    client = _client_of_keystone(settings, settings.keystone_url or "")
    try:
        return await client.check()
    finally:
        await client.close()


def _client_of_keystone(settings: Settings, url: str, observer: IdentityObserver | None = None) -> KeystoneClient:
    return KeystoneClient(
        url,
        _service_user(settings),
        Breaker(_TRY_AFTER, _TRY_AGAIN_SECONDS, time.monotonic),
        _rules(settings, dict(text.rsplit("=", 1) for text in settings.keystone_role)),
        timeout=settings.keystone_timeout,
        connections=_AT_ONCE,
        tls=None if settings.keystone_ca is None else _trusting(settings.keystone_ca),
        observe=None if observer is None else observer.keystone_was_asked,
    )


def _keystone(
    settings: Settings, url: str, gateways: GatewayPeers, cleanups: AsyncExitStack, observer: IdentityObserver | None
) -> tuple[KeystoneTokens, StateOf]:
    client = _client_of_keystone(settings, url, observer)
    cleanups.push_async_callback(client.close)
    cache = TokenCache(
        client.validate,
        seconds=settings.token_cache_seconds,
        refused_seconds=min(_REFUSED_SECONDS, settings.token_cache_seconds),
        most=settings.token_cache_size,
        queues=ValidationQueues(_AT_ONCE, _WAITING_TOKENS),
        waiting=WaitingLimits(_WAITING_CALLS, _WAITING_CALLS_OF_ONE),
        monotonic=time.monotonic,
        clock=time.time,
    )
    cleanups.push_async_callback(cache.close)
    if observer is not None:
        observer.keystone_is_used(cache, client.breaker)
    tokens = KeystoneTokens(settings.keystone_public_url or url, cache, gateways, settings.keystone_service_type)
    return tokens, partial(_state_of_keystone, client)


def _state_of_keystone(client: KeystoneClient) -> ProviderState:
    problem = ""
    if client.breaker.is_open:
        problem = f"Keystone does not work ({client.problem}); only tokens that were validated lately are accepted."
    elif client.problem:
        problem = f"The last request to Keystone failed ({client.problem})."
    return ProviderState("keystone", problem)


def _rules(settings: Settings, names: Mapping[str, str]) -> RoleRules:
    return RoleRules(
        names,
        frozenset(settings.keystone_service_project),
        frozenset(settings.keystone_admin_project),
        frozenset(settings.keystone_service_token_role),
    )


def _trusting(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise CannotIdentify(f"--keystone-ca: {ca}: not a PEM certificate") from None
    except OSError as error:
        raise CannotIdentify(f"--keystone-ca: {ca}: {error.strerror}") from None


def _client(text: str) -> tuple[str, Principal]:
    name, _, whose = text.rpartition("=")
    role, _, project_id = whose.partition("@")
    return name, Principal(project_id, frozenset({role}), name)


def _service_user(settings: Settings) -> ServiceUser | None:
    if not (settings.keystone_user and settings.keystone_password_file and settings.keystone_project):
        return None
    return ServiceUser(
        name=settings.keystone_user,
        password=_secret("--keystone-password-file", settings.keystone_password_file),
        domain=settings.keystone_user_domain,
        project=settings.keystone_project,
        project_domain=settings.keystone_project_domain,
    )


def _secret(flag: str, path: Path) -> str:
    try:
        secret = path.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        raise CannotIdentify(f"{flag}: {path}: {why}") from None
    if not secret:
        raise CannotIdentify(f"{flag}: {path}: is empty")
    return secret
