"""The failure of settings that a program cannot use."""

from __future__ import annotations


class InvalidSettings(Exception):
    """Settings are invalid or missing; ``problems`` has a line for each, without secrets."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
