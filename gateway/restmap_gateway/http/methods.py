"""HTTP methods that aiohttp's fast parser does not know: ``custom`` rules may name any method."""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import hdrs

COMMON = hdrs.METH_ALL
"""Methods that aiohttp's fast parser accepts."""


def are_all_common(methods: Collection[str]) -> bool:
    """Return whether the fast parser accepts all of these methods; False for ``*``, which means any method."""
    return COMMON.issuperset(methods)
