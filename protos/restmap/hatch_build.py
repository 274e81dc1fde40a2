"""Collects the two packages of this distribution: this folder, and ``multiplex`` beside it.

In an sdist ``multiplex`` is inside this folder, as nothing outside of it can be there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_ABOUT = ("LICENSE", "README.md", "hatch_build.py", "pyproject.toml")
"""What builds the distribution, and belongs to no package."""

_LEFT_OUT = ("multiplex", "PKG-INFO", "__pycache__", "dist")


class BothPackages(BuildHookInterface):
    """Says where each file goes."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the packages to a wheel or an sdist. What is installed for development refers to the folders."""
        if version == "editable":
            return
        root = Path(self.root)
        inside = root / "multiplex"
        multiplex = inside if inside.is_dir() else root.parent / "multiplex"
        is_wheel = self.target_name == "wheel"
        own = [path for path in root.iterdir() if path.name not in _LEFT_OUT and not path.name.startswith(".")]
        build_data["force_include"] |= {str(multiplex): "multiplex"} | {
            str(path): f"restmap/{path.name}" if is_wheel else path.name
            for path in own
            if not (is_wheel and path.name in _ABOUT)
        }
