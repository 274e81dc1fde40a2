"""What the person in front of the terminal sees while it takes its time."""

from __future__ import annotations

import sys


def tell(text: str) -> None:
    """Print a line of progress; results go elsewhere."""
    print(f"  {text}", file=sys.stderr, flush=True)
