"""Measurements that need no load from outside: a process of their own on the core of what is tested."""

from __future__ import annotations

import json
from typing import Any

from bench.outcome import Setting
from bench.processes import python, running


def measured_inside(setting: Setting, module: str, *arguments: str) -> Any:  # noqa: ANN401 - what the module prints
    """Run a module that prints its figures as JSON.

    Raises:
        RuntimeError: it failed.
    """
    with running(python(module, *arguments), setting.cores.tested) as process:
        printed, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{module} ended with {process.returncode}")
    return json.loads(printed)
