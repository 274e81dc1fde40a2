"""Checks of the limits of a process."""

from __future__ import annotations

import resource
from collections.abc import Iterator

from programkit.doctor.findings import Check, Finding, ok, warning


def descriptors(needed: int) -> Check:
    """Return a check that a process may open ``needed`` files. The limit of this process is looked at."""

    def check() -> Iterator[Finding]:
        try:
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        except OSError as error:
            yield warning(f"the limit cannot be read: {error.strerror}", "set the limit where the program is started")
            return
        if soft != resource.RLIM_INFINITY and soft < needed:
            advice = "set LimitNOFILE=65536 in the unit, or ulimit -n; this is the limit of the doctor's own process"
            yield warning(f"{soft} open files are allowed, {needed} may be needed", advice)
        else:
            yield ok("any number of open files" if soft == resource.RLIM_INFINITY else f"{soft} open files are allowed")

    return check
