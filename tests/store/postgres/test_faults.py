"""Errors of PostgreSQL's driver: a refused value must not be reported as lost data."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from backup_sharing.errors import StoredDataUnreadable
from backup_sharing.store.postgres.faults import failure_of

pytestmark = pytest.mark.resilience

VALUES = [
    psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"),
    errors.InvalidTextRepresentation("invalid input syntax for type bigint"),
    errors.NumericValueOutOfRange("bigint out of range"),
    errors.CharacterNotInRepertoire("invalid byte sequence for encoding"),
    errors.UntranslatableCharacter("character has no equivalent"),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
]
STORED = [
    errors.DataCorrupted("invalid page"),
    errors.IndexCorrupted("unexpected zero page"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
]


@pytest.mark.parametrize("error", VALUES, ids=lambda error: type(error).__name__)
def test_a_value_that_cannot_be_taken_is_a_defect(error: Exception) -> None:
    failure = failure_of(error)
    assert (type(failure), failure.__cause__) == (RuntimeError, error)


@pytest.mark.parametrize("error", STORED, ids=lambda error: type(error).__name__)
def test_stored_data_that_cannot_be_read_says_so(error: Exception) -> None:
    assert type(failure_of(error)) is StoredDataUnreadable
