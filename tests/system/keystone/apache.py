"""Real Apache as a proxy in front of Keystone, with its default limits."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.support.ports import free_address
from tests.support.programs import PATIENCE

ELSEWHERE = "BACKUP_SHARING_TEST_APACHE"
"""Environment variable with the path of ``apache2`` if not on the PATH; modules are in ``../lib/apache2/modules``."""

_MODULES = ("mpm_event", "authz_core", "proxy", "proxy_http")
_CONFIGURATION = """
{modules}
ServerRoot {folder}
ServerName localhost
Listen {address}
PidFile {folder}/apache.pid
ErrorLog {folder}/apache.log
ProxyPass / {upstream}/
"""


def program() -> Path | None:
    """Return the path of the program, or None if this machine lacks it."""
    found = os.environ.get(ELSEWHERE) or shutil.which("apache2")
    return Path(found) if found else None


class Apache:
    """Apache process that forwards everything from ``url`` to ``upstream``."""

    def __init__(self, binary: Path, folder: Path, upstream: str) -> None:
        self.url = f"http://{free_address()}"
        self._folder = folder
        modules = binary.parents[1] / "lib" / "apache2" / "modules"
        lines = "\n".join(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in _MODULES)
        address = self.url.removeprefix("http://")
        configuration = folder / "apache.conf"
        configuration.write_text(
            _CONFIGURATION.format(modules=lines, folder=folder, address=address, upstream=upstream)
        )
        command = (str(binary), "-D", "FOREGROUND", "-f", str(configuration))
        with (folder / "apache.out").open("wb") as said:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def wait(self) -> None:
        """Wait until Apache replies."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            assert self._process.poll() is None, (self._folder / "apache.out").read_text()
            try:
                with urllib.request.urlopen(f"{self.url}/v3", timeout=5):  # noqa: S310 - our own process
                    return
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError("Apache does not answer")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
