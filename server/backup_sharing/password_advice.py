"""What to do instead of giving a password on a command line; settings and commands refuse it with the same words."""

from __future__ import annotations

from typing import Final

from programkit import secrets

ADVICE: Final = f"{secrets.ADVICE}, and the password in the file that PGPASSFILE names or in PGPASSWORD"
"""For a url of a database, or another setting."""
