"""Access checks: who may ask, and what each caller learns."""

from __future__ import annotations

import pytest

from backup_sharing.errors import InvalidArgument
from backup_sharing.model import Principal
from backup_sharing.store.interface import Store
from backup_sharing.usecases.access import NO, Accesses, Question, Verdict
from backup_sharing.usecases.sharing import Caller, Sharings
from tests.server.identities import (
    BACKUP,
    GIVER,
    OTHER,
    OUTSIDER,
    OUTSIDERS_BACKUP,
    RECIPIENT,
    SECOND_BACKUP,
    TOKENS,
    UNKNOWN,
    share,
)

ALL_PAIRS = [
    Question(backup_id, project_id)
    for backup_id in (BACKUP, SECOND_BACKUP, OUTSIDERS_BACKUP, UNKNOWN)
    for project_id in (GIVER, RECIPIENT, OTHER, OUTSIDER)
]


@pytest.fixture
def accesses(store: Store) -> Accesses:
    return Accesses(store)


async def answer(accesses: Accesses, token: str, question: Question) -> Verdict:
    (found,) = (await accesses.check(TOKENS[token], question)).answers
    return found


async def test_a_service_is_told_owner_and_sharing(accesses: Accesses, sharings: Sharings, caller: Caller) -> None:
    (sharing,) = await sharings.share(caller, share(RECIPIENT))
    assert await answer(accesses, "service-token", Question(BACKUP, GIVER)) == Verdict(GIVER)
    assert await answer(accesses, "service-token", Question(BACKUP, RECIPIENT)) == Verdict(GIVER, sharing)
    assert await answer(accesses, "service-token", Question(BACKUP, OTHER)) == NO
    assert await answer(accesses, "service-token", Question(UNKNOWN, GIVER)) == NO


@pytest.mark.parametrize("token", ["giver-token", "reader-token"])
async def test_an_owner_may_ask_about_every_project(
    accesses: Accesses, sharings: Sharings, caller: Caller, token: str
) -> None:
    (sharing,) = await sharings.share(caller, share(RECIPIENT))
    assert await answer(accesses, token, Question(BACKUP, RECIPIENT)) == Verdict(GIVER, sharing)
    assert await answer(accesses, token, Question(BACKUP, GIVER)) == Verdict(GIVER)
    assert await answer(accesses, token, Question(OUTSIDERS_BACKUP, OUTSIDER)) == NO


async def test_a_recipient_may_ask_about_itself_only(accesses: Accesses, sharings: Sharings, caller: Caller) -> None:
    sharing, _ = await sharings.share(caller, share(RECIPIENT, OTHER))
    assert await answer(accesses, "recipient-token", Question(BACKUP, RECIPIENT)) == Verdict(GIVER, sharing)
    assert await answer(accesses, "recipient-token", Question(BACKUP, OTHER)) == NO
    assert await answer(accesses, "recipient-token", Question(BACKUP, GIVER)) == NO


async def test_each_caller_learns_what_the_rule_says(accesses: Accesses, sharings: Sharings, caller: Caller) -> None:
    await sharings.share(caller, share(RECIPIENT, OTHER))
    owners = {BACKUP: GIVER, SECOND_BACKUP: GIVER, OUTSIDERS_BACKUP: OUTSIDER}
    for principal in TOKENS.values():
        found = await accesses.check_all(principal, ALL_PAIRS)
        for question, verdict in zip(ALL_PAIRS, found.answers, strict=True):
            owner = owners.get(question.backup_id)
            is_true = question.project_id == owner or (
                question.backup_id == BACKUP and question.project_id in (RECIPIENT, OTHER)
            )
            may_ask = principal.roles & {"admin", "service"} or principal.project_id in (question.project_id, owner)
            assert (verdict.owner_project_id is not None) == bool(is_true and may_ask)


async def test_a_caller_of_no_project_learns_nothing(accesses: Accesses) -> None:
    found = await accesses.check_all(Principal("", frozenset({"reader"})), ALL_PAIRS)
    assert found.answers == [NO] * len(ALL_PAIRS)


async def test_ids_are_compared_in_canonical_form(accesses: Accesses) -> None:
    assert await answer(accesses, "giver-token", Question(BACKUP.upper(), GIVER)) == Verdict(GIVER)
    assert await answer(accesses, "giver-token", Question(BACKUP, GIVER.upper())) == NO


@pytest.mark.parametrize("number", [0, 1001])
async def test_a_batch_of_too_many_names_the_member(accesses: Accesses, number: int) -> None:
    with pytest.raises(
        InvalidArgument, match=rf"^The value of checks has {number} entries; 1 to 1000 are expected.$"
    ) as raised:
        await accesses.check_all(TOKENS["service-token"], [Question(BACKUP, GIVER)] * number)
    assert [violation.field for violation in raised.value.violations] == ["checks"]


async def test_a_batch_of_a_thousand_is_answered(accesses: Accesses) -> None:
    found = await accesses.check_all(TOKENS["service-token"], [Question(BACKUP, GIVER)] * 1000)
    assert found.answers == [Verdict(GIVER)] * 1000


async def test_a_bad_value_of_a_batch_is_named_with_its_place(accesses: Accesses) -> None:
    questions = [Question(BACKUP, GIVER), Question("x", GIVER), Question(BACKUP, "")]
    with pytest.raises(InvalidArgument) as raised:
        await accesses.check_all(TOKENS["service-token"], questions)
    assert [violation.field for violation in raised.value.violations] == ["checks[1].backup_id", "checks[2].project_id"]
    assert raised.value.specific_reason == "BACKUP_ID_MALFORMED"
