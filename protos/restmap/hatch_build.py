"""Collect the two packages of this distribution: this folder and the folder ``multiplex`` beside this one.

In an sdist, ``multiplex`` is inside this folder, because an sdist cannot contain files outside of its root.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_ABOUT = ("LICENSE", "README.md", "hatch_build.py", "pyproject.toml")
"""Files for building the distribution, which belong to no package."""

_LEFT_OUT = ("multiplex", "PKG-INFO", "__pycache__", "dist")


class BothPackages(BuildHookInterface):
    """Build hook that sets the place of each file in the wheel or sdist."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the packages to a wheel or an sdist. An editable install refers to the folders instead."""
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
