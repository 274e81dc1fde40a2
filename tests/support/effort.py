"""How many random cases a test tries: some of them in ``make test``, all of them in ``make test-all``."""

from __future__ import annotations

from hypothesis import settings

FAST = "fast"
"""Name of the Hypothesis profile of ``make test``."""

FAST_EXAMPLES = 20
"""Examples of a test without a number of its own in the profile `FAST`."""


def cases(all_of_them: int) -> int:
    """Return the number of random cases for a test: a fifth, but at least ten, in the profile `FAST`."""
    is_fast = settings.get_current_profile_name() == FAST
    return max(all_of_them // 5, min(all_of_them, 10)) if is_fast else all_of_them
