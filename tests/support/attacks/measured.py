"""Peak memory and output of a process under attack."""

from __future__ import annotations

import re
from pathlib import Path

_RESET_PEAK = "5"


class Memory:
    """Memory use of a Linux process since this object was created."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        (self._folder / "clear_refs").write_text(_RESET_PEAK)
        self._before = self._read("VmRSS")

    @property
    def peak(self) -> int:
        """Return the peak use in bytes above the use at the start."""
        return self._read("VmHWM") - self._before

    def _read(self, name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", (self._folder / "status").read_text())
        return int(found[1]) * 1024 if found else 0
