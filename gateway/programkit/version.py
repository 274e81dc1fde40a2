"""Versions of installed distributions."""

from __future__ import annotations

from importlib import metadata


def version_of(distribution: str) -> str:
    """Return the version of a distribution; ``unknown`` if it is not installed, but run from its source."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"
