"""The alert rules of docs/operation: Prometheus' own tool accepts them, and each alert fires and recovers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.programs import PATIENCE
from tests.system.operation.prometheus import OPERATION, alert_rules

RULES = OPERATION / "alerts.yml"

GROWS_THEN_STOPS = "0+600x20 12000x60"
GROWS = "0+600x80"
NOTHING = "0x80"
"""Series with one value per minute: something is wrong for twenty minutes, and well for an hour after that."""

FIRED_AT, RECOVERED_AT = "20m", "80m"

promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def gauge(series: str, bad: float, good: float) -> Mapping[str, str]:
    """Return a gauge that is bad for twenty minutes."""
    return {series: f"{bad:g}x20 {good:g}x60"}


def slow(histogram: str, labels: str, fast: float, most: float) -> Mapping[str, str]:
    """Return a histogram whose observations are between ``fast`` and ``most`` for twenty minutes, then below."""
    bucket = f"{histogram}_bucket{{{labels}{',' if labels else ''}le="
    return {f'{bucket}"{fast:g}"}}': "0x20 0+600x60", f'{bucket}"{most:g}"}}': GROWS, f'{bucket}"+Inf"}}': GROWS}


def calls(labels: str) -> Mapping[str, str]:
    """Return a server whose calls end in this way for twenty minutes, beside as many that are well."""
    well = 'grpc_server_handled_total{instance="a",grpc_method="ShareBackup",grpc_code="OK",reason=""}'
    ill = f'grpc_server_handled_total{{instance="a",grpc_method="ShareBackup",{labels}}}'
    return {ill: GROWS_THEN_STOPS, well: "0x20 0+600x60"}


def requests(status: str) -> Mapping[str, str]:
    """Return a gateway whose requests have this status for twenty minutes."""
    name = "http_server_request_duration_seconds_count"
    series = {code: f'{name}{{instance="a",http_response_status_code="{code}"}}' for code in (status, "200")}
    return {series[status]: GROWS_THEN_STOPS, series["200"]: "0x20 0+600x60"}


UPSTREAM = 'restmap_gateway_upstream_servers{{instance="a",server="s:1",state="{}"}}'

TROUBLES: Mapping[str, Mapping[str, str]] = {
    "ServerDown": gauge('up{job="backup-sharing-server",instance="a"}', 0, 1),
    "StoreFailed": gauge('backup_sharing_store_failed{instance="a"}', 1, 0),
    "CallsFail": calls('grpc_code="Unavailable",reason="STORE_UNAVAILABLE"'),
    "Defect": calls('grpc_code="Internal",reason=""'),
    "CallsSlow": slow("grpc_server_handling_seconds", 'instance="a",grpc_type="unary"', 0.1, 2.5),
    "Overloaded": calls('grpc_code="ResourceExhausted",reason="OVERLOADED"'),
    "ChangesWait": gauge('backup_sharing_changes_waiting{instance="a"}', 1001, 1000),
    "CommitsSlow": slow("backup_sharing_stage_duration_seconds", 'instance="a",stage="commit"', 0.1, 1),
    "WalGrows": gauge('backup_sharing_sqlite_wal_bytes{instance="a"}', 1.1e9, 1e8),
    "CheckpointsFail": {
        'backup_sharing_sqlite_checkpoints_total{instance="a",outcome="failed"}': GROWS_THEN_STOPS,
    },
    "PoolExhausted": gauge('backup_sharing_postgres_pool_waiting{instance="a"}', 1, 0),
    "DatabaseUnreachable": {
        'backup_sharing_postgres_pool_connection_errors_total{instance="a"}': GROWS_THEN_STOPS,
    },
    "CommitsInDoubt": gauge('backup_sharing_postgres_writers_in_doubt{instance="a"}', 1, 0),
    "KeystoneDown": gauge('backup_sharing_keystone_breaker_open{instance="a"}', 1, 0),
    "KeystoneSlow": slow("backup_sharing_keystone_request_duration_seconds", 'instance="a"', 1, 5),
    "CallersUnknown": calls('grpc_code="Unauthenticated",reason="TOKEN_INVALID"'),
    "WatchesLag": gauge('backup_sharing_watch_lag_events{instance="a"}', 10001, 10000),
    "EventsLate": slow("backup_sharing_event_delay_seconds", 'instance="a"', 1, 10),
    "EventsUnread": {'backup_sharing_feed_reads_total{instance="a",outcome="failed"}': GROWS_THEN_STOPS},
    "GatewayDown": gauge('up{job="backup-sharing-gateway",instance="a"}', 0, 1),
    "NoServer": gauge(UPSTREAM.format("serving"), 0, 1),
    "ServerUnreachable": gauge(UPSTREAM.format("unreachable"), 1, 0),
    "RequestsFail": requests("503"),
    "RequestsSlow": slow("http_server_request_duration_seconds", 'instance="a",http_route="/v2/x"', 0.5, 5),
    "RequestsTurnedAway": {'restmap_gateway_rejected_total{instance="a",reason="in_flight"}': GROWS_THEN_STOPS},
    "ConnectionsRefused": {'restmap_gateway_connections_refused_total{instance="a"}': GROWS_THEN_STOPS},
    "DescriptorsRunOut": {
        **gauge('process_open_fds{job="backup-sharing-server",instance="a"}', 900, 100),
        'process_max_fds{job="backup-sharing-server",instance="a"}': "1000x80",
    },
    "Restarts": {'process_start_time_seconds{job="backup-sharing-server",instance="a"}': "0+60x20 1200x60"},
}
"""Series that make an alert fire and recover, by the alert."""


def tool(*arguments: str) -> str:
    """Run promtool; return what it prints."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def firing(alert: str, at: str, times: int) -> Mapping[str, object]:
    """Return what to expect of an alert at a time."""
    samples = [{"value": times, "labels": "{}"}] if times else []
    state = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
    return {"expr": f"count({state})", "eval_time": at, "exp_samples": samples}


@promtool
def test_prometheus_accepts_rules_and_settings() -> None:
    assert "SUCCESS" in tool("check", "rules", str(RULES))
    assert "SUCCESS" in tool("check", "config", str(OPERATION / "prometheus.yml"))


def test_each_alert_has_a_trouble_in_which_it_fires() -> None:
    assert [rule["alert"] for rule in alert_rules()] == [f"BackupSharing{name}" for name in TROUBLES]


@promtool
def test_each_alert_fires_in_its_trouble_and_recovers(tmp_path: Path) -> None:
    tests = [
        {
            "interval": "1m",
            "name": name,
            "input_series": [{"series": series, "values": values} for series, values in trouble.items()],
            "promql_expr_test": [
                firing(f"BackupSharing{name}", FIRED_AT, 1),
                firing(f"BackupSharing{name}", RECOVERED_AT, 0),
            ],
        }
        for name, trouble in TROUBLES.items()
    ]
    file = tmp_path / "alerts.test.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    assert "SUCCESS" in tool("test", "rules", str(file))


def test_each_alert_has_a_section_that_says_what_to_do() -> None:
    page = (OPERATION / "alerts.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### (\w+)\n\n(.+?)(?=\n#|\Z)", page, re.MULTILINE | re.DOTALL))
    assert list(sections) == [rule["alert"] for rule in alert_rules()]
    for rule in alert_rules():
        assert rule["annotations"]["runbook_url"].endswith(f"/operation/alerts.html#{rule['alert'].lower()}")
        assert rule["labels"]["severity"] in ("page", "ticket")
