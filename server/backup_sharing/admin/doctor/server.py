"""All checks of a server, by its settings."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from backup_sharing.admin.doctor.database import database
from backup_sharing.config import Settings
from backup_sharing.identity.configured import CannotIdentify, keystone_problem
from backup_sharing.identity.token_file.entries import BadTokenFile, read_entries
from programkit.doctor.certificates import authority, pair
from programkit.doctor.findings import Check, Finding, failed, ok, warning
from programkit.doctor.process import descriptors

_RESERVE: Final = 64
"""Open files besides connections."""


def checks(settings: Settings, seconds: float) -> Mapping[str, Check]:
    """Return the checks of a server by name; each should end within ``seconds``."""
    found: dict[str, Check] = {"database": partial(database, settings.database, seconds / 2)}
    if settings.keystone_url is not None:
        found["keystone"] = partial(keystone, settings)
    if settings.tokens is not None:
        found["tokens"] = partial(tokens, settings.tokens)
    if settings.tls_certificate is not None and settings.tls_key is not None:
        found["certificate"] = pair(settings.tls_certificate, settings.tls_key)
    for name, ca in (("client CA", settings.client_ca), ("keystone CA", settings.keystone_ca)):
        if ca is not None:
            found[name] = authority(ca)
    found["open files"] = descriptors(settings.max_connections + _RESERVE)
    return found


def keystone(settings: Settings) -> Iterator[Finding]:
    """Check that Keystone answers, and that the service user can log in."""
    try:
        problem = asyncio.run(keystone_problem(settings))
    except CannotIdentify as error:
        yield failed(str(error), "check the file and its mode")
        return
    if problem:
        yield failed(f"{settings.keystone_url}: {problem}", "check --keystone-url, the network and the service user")
    else:
        user = settings.keystone_user
        yield ok(f"{settings.keystone_url}: answers" + (f", and accepts the service user {user}" if user else ""))


def tokens(path: Path) -> Iterator[Finding]:
    """Check that the token file can be read, by its owner only, and has a token that is accepted."""
    try:
        entries, mode = read_entries(path), stat.S_IMODE(path.stat().st_mode)
    except BadTokenFile as error:
        yield failed(str(error), "make one with backup-sharing token create, readable by the server's user")
        return
    expired = sum(entry.has_expired(time.time()) for entry in entries)
    text = f"{path}: {len(entries)} tokens, {expired} of them expired, mode {mode:04o}"
    if len(entries) == expired:
        yield warning(text, "no token is accepted: make one with backup-sharing token create")
    elif mode & stat.S_IRWXO:
        yield warning(text, "close it to other users: chmod o= FILE")
    else:
        yield ok(text)
