"""A check of every command line of ``backup-sharing``, used if the service is installed."""

from __future__ import annotations

from collections.abc import Sequence

import click

from backup_sharing.password_advice import ADVICE
from programkit.secrets import secret_in


def refuse_passwords(arguments: Sequence[str]) -> None:
    """Check that no argument holds a password.

    Raises:
        click.UsageError: an argument holds one; the message names the option without the password.
    """
    if option := secret_in(arguments):
        raise click.UsageError(f"{option}: {ADVICE}")
