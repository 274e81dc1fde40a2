"""The caller's identity: a given token, or a token from Keystone for OpenStack's credentials."""

from __future__ import annotations

import os
from dataclasses import dataclass

TIMEOUT = 30.0
"""Maximum seconds to wait for each response of Keystone."""


class NoCredentials(Exception):
    """There is no token, and the credentials for a login are incomplete; the message names the missing options."""


class CannotLogIn(Exception):
    """Keystone cannot be reached, or rejects the login; the message has the cause."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The project and token of a caller."""

    project: str
    token: str

    def __repr__(self) -> str:
        """Show the project, but not the token."""
        return f"Identity({self.project!r})"


def identify(
    project: str, token: str, *, has_certificate: bool, needs_project: bool = True, timeout: float = TIMEOUT
) -> Identity:
    """Return the identity of the caller. Without a token, or with a token but no project, log in to Keystone.

    A login uses the cloud that ``OS_CLOUD`` names in ``clouds.yaml``, or ``OS_AUTH_URL`` and the other variables of
    OpenStack clients. With a certificate and without these variables, there is no login: the certificate identifies
    the caller.

    Args:
        project: project id; empty if none was given.
        token: token; empty if none was given.
        has_certificate: whether the caller presents a certificate to the server.
        needs_project: whether the call is about a project of the caller.
        timeout: maximum seconds to wait for each response of Keystone.

    Raises:
        NoCredentials: options or variables are missing.
        CannotLogIn: Keystone gives no token.
    """
    can_log_in = bool(os.environ.get("OS_CLOUD") or os.environ.get("OS_AUTH_URL"))
    if token and (project or not needs_project):
        return Identity(project, token)
    if not can_log_in:
        if token or has_certificate:
            if not project and needs_project:
                raise NoCredentials("--project (OS_PROJECT_ID) is missing")
            return Identity(project, token)
        raise NoCredentials("--token (OS_TOKEN) is missing, and also OS_CLOUD or OS_AUTH_URL for a login to Keystone")
    try:
        # Imported here: most calls have a token, and the libraries of OpenStack are slow to import, and optional.
        from backupsharing.commands.keystone import log_in
    except ImportError as error:
        raise CannotLogIn(
            f"a login to Keystone needs more packages ({error.name} is missing); install"
            " backupsharing-client[commands], or give --token (OS_TOKEN) and --project (OS_PROJECT_ID)"
        ) from None
    return log_in(project, token, min(timeout, TIMEOUT))
