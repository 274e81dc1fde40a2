"""Secrets in settings: refused on a command line, which every local user can read, and redacted in messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote

_WORD = r"(?:password|passwd|passphrase|pwd|client_secret)\s*="
_SECRETS = (
    re.compile(r"://[^@/\s]*:[^@/\s]*@"),  # libpq reads user and password up to the first slash
    re.compile(r"://[^@?\s]*:[^@?\s]*@"),  # a slash in the password is invalid, but is redacted too
    re.compile(rf"{_WORD}\s*\S", re.IGNORECASE),
)
_HIDDEN = (
    (re.compile(r"://.*@", re.DOTALL), "://***@"),
    (re.compile(rf"({_WORD}).*", re.DOTALL | re.IGNORECASE), r"\1***"),
)

ADVICE = "a password on the command line can be read by every user of this machine (ps); leave it out"


def redacted(text: str) -> str:
    """Return a setting's value, or a message that contains one, without the user and password of a URL."""
    for secret, shown in _HIDDEN:
        text = secret.sub(shown, text)
    return "***" if _holds_secret(unquote(text).replace("***", "")) else text


def secret_in(arguments: Sequence[str]) -> str | None:
    """Return the option that holds a password, "an argument" if it has no option, or None without a password."""
    before = ""
    for argument in arguments:
        if _holds_secret(argument) or _holds_secret(unquote(argument)):
            option = argument.partition("=")[0] if argument.startswith("-") else before
            return option if option.startswith("-") and not _holds_secret(option) else "an argument"
        before = argument
    return None


def _holds_secret(text: str) -> bool:
    return any(secret.search(text) for secret in _SECRETS)
