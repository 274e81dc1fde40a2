"""Callers that share, cancel and list, and write every request and response to a journal."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from tests.system.chaos.cluster import Project

_CALL_SECONDS = 30.0
_PAUSE = 0.05
_KEYED_TRIES = 400


class Journal:
    """JSON lines file of requests and responses in order of time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8")
        self.responses: Counter[str] = Counter()

    def write(self, **entry: Any) -> None:  # noqa: ANN401 -- any JSON value
        """Append a line and flush the file."""
        self._file.write(json.dumps({**entry, "at": time.time()}) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class Callers:
    """Makes calls through randomly chosen gateways until `stopping` is set."""

    def __init__(self, addresses: Sequence[str], projects: Sequence[Project], journal: Journal, seed: int) -> None:
        self._addresses = addresses
        self._projects = projects
        self._journal = journal
        self._seed = seed
        self._numbers = itertools.count()
        self._acknowledged: list[tuple[Project, str]] = []
        """Sharings that callers may cancel later."""
        self.stopping = asyncio.Event()

    async def run(self, callers: int) -> None:
        """Call until `stopping` is set."""
        timeout = aiohttp.ClientTimeout(total=_CALL_SECONDS)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session, asyncio.TaskGroup() as tasks:
            for number in range(callers):
                tasks.create_task(self._call_on(session, Random(f"{self._seed} {number}")))  # noqa: S311 -- no secret

    async def _call_on(self, session: aiohttp.ClientSession, random: Random) -> None:
        kinds = [self._share, self._share, self._share_with_key, self._cancel, self._list]
        while not self.stopping.is_set():
            if not await random.choice(kinds)(session, random):
                await asyncio.sleep(_PAUSE)

    async def _share(self, session: aiohttp.ClientSession, random: Random) -> bool:
        project, number, body = self._asked(random, key=None)
        status, answer = await self._ask(session, random, "POST", project, "", body)
        # A reason is conclusive only for a call sent once; calls with a key are retried.
        reason = answer["error"].get("reason", "") if status == 503 else ""
        self._told(project, number, status, answer, reason)
        return status == 200

    async def _share_with_key(self, session: aiohttp.ClientSession, random: Random) -> bool:
        """Share with retries until acknowledged; the key makes all attempts one sharing."""
        key = str(uuid.uuid4())
        project, number, body = self._asked(random, key=key)
        for _ in range(_KEYED_TRIES):
            status, answer = await self._ask(session, random, "POST", project, "", body, {"Idempotency-Key": key})
            if status == 200 or 400 <= status < 500:
                break
            await asyncio.sleep(_PAUSE)
        self._told(project, number, status, answer)
        return status == 200

    async def _cancel(self, session: aiohttp.ClientSession, random: Random) -> bool:
        if len(self._acknowledged) < 100:
            return False
        project, sharing_id = self._acknowledged.pop(random.randrange(len(self._acknowledged)))
        self._journal.write(kind="cancel", id=sharing_id)
        status, _ = await self._ask(session, random, "DELETE", project, f"/{sharing_id}")
        self._journal.write(kind="cancelled", id=sharing_id, status=status)
        return status == 200

    async def _list(self, session: aiohttp.ClientSession, random: Random) -> bool:
        project = random.choice(self._projects)
        known = [sharing_id for giver, sharing_id in self._acknowledged[-20:] if giver is project]
        if known:
            # An acknowledged sharing without a cancel request must be visible to every later call.
            sharing_id = known[-1]
            status, _ = await self._ask(session, random, "GET", project, f"/{sharing_id}")
            still_there = (project, sharing_id) in self._acknowledged
            if status == 404 and still_there:
                self._journal.write(kind="lost", id=sharing_id)
        else:
            status, _ = await self._ask(session, random, "GET", project, "/detail?limit=20")
        return status == 200

    def _asked(self, random: Random, key: str | None) -> tuple[Project, int, Mapping[str, Any]]:
        project, number = random.choice(self._projects), next(self._numbers)
        backup_id = random.choice(project.backups)
        recipients = [f"r-{number}-{index}" for index in range(random.randint(1, 4))]
        self._journal.write(kind="share", call=number, giver=project.id, backup=backup_id, to=recipients, key=key)
        return project, number, {"shared": {"to_project_ids": recipients, "backup_id": backup_id}}

    def _told(self, project: Project, number: int, status: int, answer: Any, reason: str = "") -> None:  # noqa: ANN401 -- JSON
        ids = [sharing["id"] for sharing in answer["shared"]] if status == 200 else None
        self._journal.write(kind="shared", call=number, status=status, ids=ids, reason=reason)
        self._acknowledged.extend((project, sharing_id) for sharing_id in ids or ())

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        random: Random,
        method: str,
        project: Project,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Return status and body of a response; the status is 0 without a response."""
        url = f"http://{random.choice(self._addresses)}{project.path}{path}"
        named = {"X-Auth-Token": project.token, **(headers or {})}
        try:
            async with session.request(method, url, json=body, headers=named) as response:
                answer = await response.json() if method != "DELETE" or response.status != 200 else None
                status = response.status
        except (aiohttp.ClientError, TimeoutError) as error:
            status, answer = 0, repr(error)
        self._journal.responses[f"{method} {status}"] += 1
        if status >= 500 and status not in (503, 504):
            self._journal.write(kind="unexpected", status=status, answer=answer)
        return status, answer
