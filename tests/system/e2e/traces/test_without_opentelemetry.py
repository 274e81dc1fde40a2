"""Programs that send no traces: they do without OpenTelemetry, though it is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.support.ports import free_address
from tests.support.programs import PATIENCE, ROOT, environment
from tests.support.system import write_tokens

SERVE_BOTH = """
import sys
from backup_sharing import __main__, gateway_program
server, gateway = sys.argv[1:].index("--listen"), sys.argv
sys.argv = [gateway[0], *gateway[1:server + 1]]
__main__.main()
sys.argv = [gateway[0], *gateway[server + 1:]]
gateway_program.main()
print("imported:", sorted(name for name in sys.modules if name.startswith("opentelemetry")))
"""
"""Each serves until its standard input ends, which is at once."""


def test_programs_without_traces_import_nothing_of_opentelemetry(tmp_path: Path) -> None:
    write_tokens(tmp_path, [])
    server = (
        "--grpc-listen",
        free_address(),
        "--database",
        str(tmp_path / "x.db"),
        "--tokens",
        str(tmp_path / "tokens.json"),
    )
    both = [*server, "--stop-on-stdin-close", "--listen", free_address(), "--stop-on-stdin-close"]
    variables = {name: value for name, value in environment().items() if not name.startswith("OTEL_")}
    ended = subprocess.run(
        [sys.executable, "-c", SERVE_BOTH, *both],
        cwd=ROOT, env=variables, input="", capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    assert ended.stdout == "imported: []\n"
    events = [json.loads(line)["event"] for line in ended.stderr.splitlines()]
    assert [event for event in events if event in ("serving", "draining", "stopped")] == [
        *("serving", "draining", "stopped"),
        *("serving", "draining", "stopped"),
    ]
