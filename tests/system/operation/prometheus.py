"""A real Prometheus for one test: scrapes our programs, and answers queries."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import yaml

from tests.support.ports import free_address
from tests.support.programs import PATIENCE

OPERATION = Path(__file__).parents[3] / "docs" / "operation"

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")


def alert_rules() -> Sequence[Mapping[str, Any]]:
    """Return all alert rules of docs/operation."""
    groups = yaml.safe_load((OPERATION / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


class Prometheus:
    """Prometheus that looks twice a second; its alerts fire after a second."""

    def __init__(self, folder: Path, targets: Mapping[str, Sequence[str]]) -> None:
        """Scrape ``targets``, the admin addresses by job; data and settings are in ``folder``."""
        settings = yaml.safe_load((OPERATION / "prometheus.yml").read_text(encoding="utf-8"))
        settings["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
        jobs = {job["job_name"]: job for job in settings["scrape_configs"]}
        assert set(jobs) == {"backup-sharing-server", "backup-sharing-gateway"}
        for name, addresses in targets.items():
            jobs[name]["static_configs"] = [{"targets": list(addresses)}]
        rules = [{**rule, "for": "1s"} for rule in alert_rules()]
        (folder / "alerts.yml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
        self.address = free_address()
        self._log = (folder / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                "prometheus",
                *("--config.file", str(folder / "prometheus.yml")),
                *("--storage.tsdb.path", str(folder / "data")),
                *("--web.listen-address", self.address),
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._log.close()

    def query(self, expression: str) -> Sequence[Mapping[str, Any]]:
        """Return the series that an expression has now; none while Prometheus starts."""
        url = f"http://{self.address}/api/v1/query?{urlencode({'query': expression})}"
        try:
            with urlopen(url, timeout=PATIENCE) as answer:
                found: Sequence[Mapping[str, Any]] = json.load(answer)["data"]["result"]
        except HTTPError as error:
            error.close()
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:  # Prometheus reads its data and rules
                raise
            return ()
        except URLError:
            if self._process.poll() is not None:
                raise
            return ()
        return found

    def is_firing(self, alert: str) -> bool:
        """Return whether an alert fires."""
        return bool(self.query(f'ALERTS{{alertname="{alert}",alertstate="firing"}}'))


def patience() -> float:
    """Return the monotonic time at which a test stops to wait."""
    return time.monotonic() + PATIENCE
