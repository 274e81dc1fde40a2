"""Writers that share, cancel and let sharings expire all the time, and retry each change until it is acknowledged."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

from tests.support.programs import PATIENCE
from tests.support.wire import Answer
from tests.system.e2e.watches.cluster import Cluster

_WRITERS = 4
_PAUSE = 0.02
"""Seconds between two changes, and between two attempts, of a writer."""


class Writers:
    """Changes that the writers have made."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.acknowledged: set[tuple[str, str]] = set()
        """Kind and sharing of each event whose change was acknowledged, or that must come: the end of a sharing."""
        self.is_over = False

    async def run(self, writer: int) -> None:
        """Change until it is over: a sharing stays, the next is cancelled, the next ends soon by itself, and so on."""
        turn = writer
        while not self.is_over:
            turn += 1
            if turn % 3 == 2:
                await self._share_for_a_moment()
                continue
            sharing_id = await self.share()
            if turn % 3 == 1:
                await self._cancel(sharing_id)
            await asyncio.sleep(_PAUSE)

    async def share(self) -> str:
        """Share with a new recipient; return the id of the sharing."""
        answer = await self._shared()
        assert answer.status == 200, answer
        return self._stored(answer)

    async def _share_for_a_moment(self) -> None:
        """Share until a moment from now; the time must not be over when the server looks at it."""
        seconds = 1
        while (answer := await self._shared(seconds)).status != 200:
            assert (answer.status, "expire_time" in answer.error["message"]) == (400, True), answer
            seconds *= 2
        self.acknowledged.add(("expired", self._stored(answer)))

    def _stored(self, answer: Answer) -> str:
        sharing_id = str(answer.json["shared"][0]["id"])
        self.acknowledged.add(("shared", sharing_id))
        return sharing_id

    async def _shared(self, seconds: int = 0) -> Answer:
        key = uuid.uuid4().hex
        headers = {"Idempotency-Key": key}
        if seconds:
            headers["X-Sharing-Expire-Time"] = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        body = {"shared": {"to_project_ids": [key], "backup_id": self._cluster.backup_id}}
        return (await self._answered("POST", self._cluster.giver.path, headers, body))[0]

    async def _cancel(self, sharing_id: str) -> None:
        answer, attempts = await self._answered("DELETE", f"{self._cluster.giver.path}/{sharing_id}", {}, None)
        # An attempt without an answer may have cancelled.
        assert answer.status == 200 or (answer.status == 404 and attempts > 1), answer
        self.acknowledged.add(("cancelled", sharing_id))

    async def _answered(
        self, method: str, path: str, headers: dict[str, str], body: dict[str, object] | None
    ) -> tuple[Answer, int]:
        """Send a request until the answer is not 503 or 504; return the answer and the number of attempts."""
        token = self._cluster.giver.token
        attempts = 0
        async with asyncio.timeout(PATIENCE):
            while True:
                gateway = self._cluster.gateways[attempts % len(self._cluster.gateways)]
                attempts += 1
                with suppress(OSError, EOFError):
                    answer = await gateway.call(method, path, token=token, headers=headers, body=body)
                    if answer.status not in (503, 504):
                        return answer, attempts
                await asyncio.sleep(_PAUSE)


@asynccontextmanager
async def writing(cluster: Cluster) -> AsyncIterator[Writers]:
    """Write all the time until the context ends; then finish the changes that have begun."""
    writers = Writers(cluster)
    async with asyncio.TaskGroup() as tasks:
        for number in range(_WRITERS):
            tasks.create_task(writers.run(number))
        yield writers
        writers.is_over = True
