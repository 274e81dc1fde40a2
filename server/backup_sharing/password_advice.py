"""The message for a password on a command line, shared by settings and commands."""

from __future__ import annotations

from typing import Final

from programkit import secrets

ADVICE: Final = f"{secrets.ADVICE}, and put it into PGPASSWORD or into the file that PGPASSFILE names"
"""Message for a database URL or another setting."""
