"""HTTP methods that aiohttp's fast parser was not built with: ``custom`` rules may name any."""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import hdrs

COMMON = hdrs.METH_ALL
"""Methods that aiohttp's fast parser takes."""


def are_all_common(methods: Collection[str]) -> bool:
    """Whether the fast parser surely takes all of them; it does not for ``*``, which stands for any."""
    return COMMON.issuperset(methods)
