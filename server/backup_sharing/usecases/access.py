"""The use case of access checks: may a project read a backup?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from backup_sharing.model import Principal, Sharing
from backup_sharing.store.interface import Access, Store
from backup_sharing.usecases import cursor, policy
from backup_sharing.usecases.checks import Checks

MOST_QUESTIONS: Final = 1000
"""Maximum questions of one call."""


@dataclass(frozen=True, slots=True)
class Question:
    """May the project read the backup? Unchecked."""

    backup_id: str
    project_id: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a `Question`."""

    owner_project_id: str | None
    """Owner of the backup; None: the project may not read the backup."""
    sharing: Sharing | None = None
    """The sharing by which the project may read the backup; None for the owner."""


NO: Final = Verdict(None)
"""The project may not read the backup, or the caller may not know."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Answers from one committed state."""

    answers: Sequence[Verdict]
    cursor: str
    """The place of this state: a watch from there sends every later change."""


@dataclass(frozen=True, slots=True)
class Accesses:
    """The use case."""

    store: Store

    async def check(self, principal: Principal, question: Question) -> Verdicts:
        """Answer one question."""
        return await self._answer(principal, Checks(), [("", question)])

    async def check_all(self, principal: Principal, questions: Sequence[Question]) -> Verdicts:
        """Answer 1 to `MOST_QUESTIONS` questions, in their order."""
        checks = Checks()
        if not 1 <= len(questions) <= MOST_QUESTIONS:
            text = f"The value of checks has {len(questions)} entries; 1 to {MOST_QUESTIONS} are expected."
            checks.violate("checks", text)
            checks.done()
        return await self._answer(
            principal, checks, [(f"checks[{number}].", question) for number, question in enumerate(questions)]
        )

    async def _answer(
        self, principal: Principal, checks: Checks, questions: Sequence[tuple[str, Question]]
    ) -> Verdicts:
        pairs = [
            (
                checks.uuid(f"{member}backup_id", question.backup_id, "BACKUP"),
                checks.project_id(f"{member}project_id", question.project_id),
            )
            for member, question in questions
        ]
        checks.done()
        # Also for pairs that the caller may not ask about, so that the time of an answer tells nothing.
        found = await self.store.check_access(pairs)
        answers = [
            _verdict(principal, project_id, access)
            for (_, project_id), access in zip(pairs, found.accesses, strict=True)
        ]
        return Verdicts(answers, cursor.encode(found.store_id, found.position))


def _verdict(principal: Principal, project_id: str, access: Access) -> Verdict:
    own = principal.project_id
    may_ask = policy.sees_all(principal) or (own and own in (project_id, access.owner_project_id))
    if not may_ask or access.owner_project_id is None:
        return NO
    if access.owner_project_id == project_id:
        return Verdict(project_id)
    return NO if access.sharing is None else Verdict(access.owner_project_id, access.sharing)
