"""Logins to Keystone by keystoneauth1, with the configuration of all OpenStack clients.

Needs the extra ``commands``. openstacksdk reads ``clouds.yaml`` and the variables ``OS_*``; keystoneauth1 logs in.
"""

from __future__ import annotations

import os
import ssl
import warnings
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from keystoneauth1 import exceptions
from keystoneauth1.session import Session
from openstack.config import OpenStackConfig
from openstack.exceptions import SDKException

from backupsharing.commands.login import CannotLogIn, Identity, NoCredentials

_PASSWORD = ("password", "v3password")
_TOKEN = ("token", "v3token")
_CREDENTIAL = ("v3applicationcredential",)
_CREDENTIAL_PARTS = ("application_credential_id", "application_credential_name", "application_credential_secret")
_SCOPE = ("project_id", "project_name", "project_domain_id", "project_domain_name")


class _Configuration(OpenStackConfig):
    """The configuration of a cloud, with the project and the token that options give."""

    def __init__(self, project: str, token: str) -> None:
        super().__init__()
        self._project, self._token = project, token

    def auth_config_hook(self, config: dict[str, Any]) -> dict[str, Any]:
        """Complete the credentials; openstacksdk calls this before it loads the plugin for them."""
        auth: dict[str, Any] = {name: value for name, value in config["auth"].items() if value not in (None, "")}
        # The variables OS_… and older files have these beside `auth`, where they win.
        for name in ("username", "user_id", "password", "auth_url", *_CREDENTIAL_PARTS, *_SCOPE):
            if config.get(name):
                auth[name] = config.pop(name)
        kind = config["auth_type"] = self._kind(config, auth)
        if self._token:
            auth = {name: auth[name] for name in ("auth_url", *_SCOPE) if name in auth} | {"token": self._token}
        if self._project and kind not in _CREDENTIAL:
            auth = {name: value for name, value in auth.items() if name not in _SCOPE} | {"project_id": self._project}
        _complete_domains(auth, _default_domain(config))
        config["auth"] = auth
        _check(kind, auth)
        return config

    def _kind(self, config: Mapping[str, Any], auth: Mapping[str, Any]) -> str:
        if self._token:
            return "v3token"
        kind = str(config.get("auth_type") or "password")
        # Files of variables often have application credentials without OS_AUTH_TYPE.
        has_credential = any(name in auth for name in _CREDENTIAL_PARTS[:2])
        return _CREDENTIAL[0] if kind in _PASSWORD and has_credential and "password" not in auth else kind


def log_in(project: str, token: str, timeout: float) -> Identity:
    """Return the project and token of a login.

    Args:
        project: project id to log in to; empty: the project of the configuration.
        token: a token to log in with instead of the configured credentials; empty: there is none.
        timeout: maximum seconds to wait for each response of Keystone.

    Raises:
        NoCredentials: the configuration is incomplete.
        CannotLogIn: the configuration cannot be read, or Keystone gives no token.
    """
    region = _region(project, token)
    auth = region.config["auth"]
    url = str(auth.get("auth_url", ""))
    _check_ca(region.config.get("cacert"))
    user = auth.get("username") or auth.get("user_id") or auth.get("application_credential_id") or "the caller"
    try:
        # Not `region.get_session()`, which warns about parts of openstacksdk that are not used here.
        verify, certificate = region.get_requests_verify_args()
        session = Session(region.get_auth(), verify=verify, cert=certificate, timeout=timeout)
        got = Identity(str(session.get_project_id() or ""), str(session.get_token() or ""))
    except exceptions.HttpError as error:
        cause = f"status {error.http_status}" if error.http_status >= 500 or not error.message else error.message
        raise CannotLogIn(f"{url}: rejects the login of {user}: {cause}") from None
    except exceptions.DiscoveryFailure as error:
        # The cause, such as a refused connection, follows the advice of keystoneauth1.
        cause = str(error).partition("auth_url is correct. ")[2] or "unexpected response"
        raise CannotLogIn(f"{url}: no Keystone at this URL: {cause}") from None
    except exceptions.InvalidResponse:
        raise CannotLogIn(f"{url}: no Keystone at this URL: unexpected response") from None
    except (exceptions.ClientException, SDKException, OSError) as error:
        raise CannotLogIn(f"{url}: no token: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise CannotLogIn(f"{url}: no Keystone at this URL: unexpected response") from None
    return _checked(got, project, url)


def _checked(got: Identity, project: str, url: str) -> Identity:
    if not got.token:
        raise CannotLogIn(f"{url}: no Keystone at this URL: there is no token in its response")
    if not got.project:
        raise CannotLogIn(f"{url}: the token belongs to no project; set --project (OS_PROJECT_ID) or OS_PROJECT_NAME")
    if project and got.project != project:
        raise CannotLogIn(f"{url}: the credentials are for the project {got.project}, not for --project {project}")
    return got


def _region(project: str, token: str) -> Any:  # noqa: ANN401 - openstack.config.cloud_region.CloudRegion
    try:
        with warnings.catch_warnings():
            # Its warnings are about parts of openstacksdk that are not used here.
            warnings.simplefilter("ignore")
            return _Configuration(project, token).get_one(cloud=os.environ.get("OS_CLOUD") or None)
    except exceptions.MissingRequiredOptions as error:
        missing = " and ".join(f"OS_{option.dest.upper()}" for option in error.options)
        raise NoCredentials(f"{missing} missing for a login to Keystone") from None
    except exceptions.NoMatchingPlugin as error:
        raise CannotLogIn(f"OS_AUTH_TYPE: there is no login of the type {error.name!r}") from None
    except exceptions.ClientException as error:
        raise CannotLogIn(str(error)) from None
    except (SDKException, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CannotLogIn(f"the configuration of the cloud cannot be read: {error}") from None


def _default_domain(config: dict[str, Any]) -> tuple[str, str]:
    """Return the member and the value that name the domain of users and projects without one."""
    # OS_DEFAULT_DOMAIN is the id of a domain, as for the command openstack.
    given_id = config.pop("default_domain_id", None) or config.pop("default_domain", None)
    given_name = config.pop("default_domain_name", None)
    return ("id", str(given_id)) if given_id else ("name", str(given_name or "Default"))


def _complete_domains(auth: dict[str, Any], default: tuple[str, str]) -> None:
    by, value = default
    for of, named in (("user", "username"), ("project", "project_name")):
        if auth.get(named) and not any(auth.get(f"{of}_domain_{one}") for one in ("id", "name")):
            auth[f"{of}_domain_{by}"] = value


def _check(kind: str, auth: Mapping[str, Any]) -> None:
    """Return if the credentials are complete, and the URL is one of HTTP.

    Raises:
        NoCredentials, CannotLogIn: they are not; the message names the variables.
    """
    if kind in _PASSWORD:
        user = () if auth.get("username") or auth.get("user_id") else ("OS_USERNAME",)
        if missing := [*user, *(() if auth.get("password") else ("OS_PASSWORD",))]:
            raise NoCredentials(f"{' and '.join(missing)} missing for a login to Keystone")
    if kind in _CREDENTIAL and not auth.get("application_credential_secret"):
        raise NoCredentials("OS_APPLICATION_CREDENTIAL_SECRET missing for a login to Keystone")
    if kind in (*_PASSWORD, *_TOKEN) and not (auth.get("project_id") or auth.get("project_name")):
        raise NoCredentials("--project (OS_PROJECT_ID) or OS_PROJECT_NAME is missing for a login to Keystone")
    url = str(auth.get("auth_url", ""))
    if url and not url.startswith(("http://", "https://")):
        raise CannotLogIn("OS_AUTH_URL does not begin with http:// or https://")
    try:
        parts = urlsplit(url)
        is_url = bool(parts.hostname) and not (parts.hostname or "").startswith(".") and " " not in url
        _ = parts.port
    except ValueError:
        is_url = False
    if url and not is_url:
        raise CannotLogIn(f"OS_AUTH_URL is not a valid URL: {url}")


def _check_ca(file: object) -> None:
    if not isinstance(file, str) or not file:
        return
    try:
        ssl.create_default_context(cafile=os.path.expanduser(file))
    except ssl.SSLError:
        raise CannotLogIn(f"OS_CACERT: {file}: not a PEM certificate") from None
    except OSError as error:
        raise CannotLogIn(f"OS_CACERT: {file}: {error.strerror}") from None
