"""The caller's identity: a given token, or a token from Keystone for the credentials in OpenStack's variables."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TIMEOUT = 30.0
"""Maximum seconds to wait for Keystone's response."""

_MOST_BYTES = 1 << 20
_NEEDED = ("OS_USERNAME", "OS_PASSWORD")


class NobodyKnown(Exception):
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
    project: str, token: str, variables: Mapping[str, str], *, has_certificate: bool, timeout: float = TIMEOUT
) -> Identity:
    """Return the identity of the caller. Without a token, log in to Keystone.

    With a certificate and without ``OS_AUTH_URL``, there is no login: the certificate identifies the caller.

    Args:
        project: project id; empty if none was given.
        token: token; empty if none was given.
        variables: environment variables: ``OS_AUTH_URL`` and the other variables of OpenStack clients.
        has_certificate: whether the caller presents a certificate to the server.
        timeout: maximum seconds to wait for Keystone's response.

    Raises:
        NobodyKnown: options or variables are missing.
        CannotLogIn: Keystone gives no token.
    """
    if token or (has_certificate and not variables.get("OS_AUTH_URL")):
        if not project:
            raise NobodyKnown("--project (OS_PROJECT_ID) is missing")
        return Identity(project, token)
    if not variables.get("OS_AUTH_URL"):
        raise NobodyKnown("--token (OS_TOKEN) is missing, and also OS_AUTH_URL for a login to Keystone")
    if missing := [name for name in _NEEDED if not variables.get(name)]:
        raise NobodyKnown(f"{' and '.join(missing)} missing beside OS_AUTH_URL")
    if not (project or variables.get("OS_PROJECT_NAME")):
        raise NobodyKnown("--project (OS_PROJECT_ID) or OS_PROJECT_NAME is missing beside OS_AUTH_URL")
    return _log_in(project, variables, min(timeout, TIMEOUT))


def _log_in(project: str, variables: Mapping[str, str], timeout: float) -> Identity:
    base = variables["OS_AUTH_URL"].rstrip("/")
    if not base.startswith(("http://", "https://")):
        raise CannotLogIn("OS_AUTH_URL does not begin with http:// or https://")
    url = f"{base if base.endswith('/v3') else base + '/v3'}/auth/tokens?nocatalog"
    body, headers = json.dumps(_request(project, variables)).encode(), {"Content-Type": "application/json"}
    context = _context(variables)
    try:
        request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - http, as checked above
        _ = urllib.parse.urlsplit(url).port
    except ValueError as error:
        raise CannotLogIn(f"OS_AUTH_URL is not a valid URL: {error}") from None
    try:
        with urllib.request.urlopen(request, timeout=timeout, context=context) as answer:  # noqa: S310 - the same
            told = json.loads(answer.read(_MOST_BYTES))
            if not (token := answer.headers["X-Subject-Token"]):
                raise ValueError("there is no token in it")
            return Identity(str(told["token"]["project"]["id"]), token)
    except urllib.error.HTTPError as error:
        with error:
            raise CannotLogIn(f"{base}: rejects the login of {variables['OS_USERNAME']}: {_why(error)}") from None
    except OSError as error:
        # URLError and timeouts.
        raise CannotLogIn(f"{base}: no token: {getattr(error, 'reason', error)}") from None
    except (UnicodeError, http.client.InvalidURL):
        raise CannotLogIn(f"OS_AUTH_URL is not a valid URL: {base}") from None
    except (http.client.HTTPException, ValueError, KeyError, TypeError):
        raise CannotLogIn(f"{base}: no Keystone at this URL: unexpected response") from None


def _context(variables: Mapping[str, str]) -> ssl.SSLContext:
    file = variables.get("OS_CACERT") or None
    try:
        return ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        raise CannotLogIn(f"OS_CACERT: {file}: not a PEM certificate") from None
    except OSError as error:
        raise CannotLogIn(f"OS_CACERT: {file}: {error.strerror}") from None


def _request(project: str, variables: Mapping[str, str]) -> Mapping[str, Any]:
    user = {
        "name": variables["OS_USERNAME"],
        "domain": _domain("OS_USER_DOMAIN", variables),
        "password": variables["OS_PASSWORD"],
    }
    by_name = {"name": variables.get("OS_PROJECT_NAME"), "domain": _domain("OS_PROJECT_DOMAIN", variables)}
    return {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"id": project} if project else by_name},
        }
    }


def _domain(prefix: str, variables: Mapping[str, str]) -> Mapping[str, str]:
    if name := variables.get(f"{prefix}_NAME"):
        return {"name": name}
    if identifier := variables.get(f"{prefix}_ID"):
        return {"id": identifier}
    return {"name": "Default"}


def _why(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(_MOST_BYTES))["error"]["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"status {error.code}"
