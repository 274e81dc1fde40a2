"""Secrets that settings may hold: not taken from a command line, which every user of the machine can read, and not
repeated in a message.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from urllib.parse import unquote

_WORD = r"(?:password|passwd|passphrase|pwd|client_secret)\s*="
_SECRETS = (
    re.compile(r"://[^@/\s]*:[^@/\s]*@"),  # as libpq reads a url: up to the first slash
    re.compile(r"://[^@?\s]*:[^@?\s]*@"),  # with a slash in the password, which no program can read
    re.compile(rf"{_WORD}\s*\S", re.IGNORECASE),
)
_HIDDEN = (
    (re.compile(r"://.*@", re.DOTALL), "://***@"),
    (re.compile(rf"({_WORD}).*", re.DOTALL | re.IGNORECASE), r"\1***"),
)

ADVICE = "a password on the command line can be read by every user of this machine (ps); expected without it"


def redacted(text: str) -> str:
    """Answer a value of a setting, or a message with one in it, without the user and the password of a url."""
    for secret, shown in _HIDDEN:
        text = secret.sub(shown, text)
    return "***" if _holds_secret(unquote(text).replace("***", "")) else text


def secret_in(arguments: Sequence[str]) -> str | None:
    """Answer the option that a password is given with, "an argument" without one; None: there is no password."""
    before = ""
    for argument in arguments:
        if _holds_secret(argument) or _holds_secret(unquote(argument)):
            option = argument.partition("=")[0] if argument.startswith("-") else before
            return option if option.startswith("-") and not _holds_secret(option) else "an argument"
        before = argument
    return None


@contextmanager
def usage_redacted() -> Iterator[None]:
    """Print what argparse says of a command line that it cannot read, without the values in it."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            yield
    finally:
        for line in said.getvalue().splitlines():
            text, unknown, values = line.partition("unrecognized arguments: ")
            if unknown:
                names = (word.partition("=")[0] for word in values.split() if word.startswith("-"))
                line = f"{text}{unknown}{' '.join(names) or 'one that belongs to no option'}"
            print(redacted(line), file=sys.stderr)  # noqa: T201 - no log is set up yet


def _holds_secret(text: str) -> bool:
    return any(secret.search(text) for secret in _SECRETS)
