"""The rules on a single row, one pandera schema a staging table. Each check is named after its code."""

from collections.abc import Callable

import pandera.polars as pa
import polars as pl

from lms_crm_assets.checks.codes import DELETED, EMAIL, FORMULA, FUTURE, LENGTH, ORDER, RANGE, TYPE, VOCABULARY, Code
from lms_crm_assets.domain import LmsEntity

_EMAIL = r"^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$"
# Moodle renames a deleted account to <e-mail>.<epoch> and sets the e-mail to the MD5 of the user name.
_MANGLED = r"@.*\.\d{9,11}$"

# As spreadsheets read it: an equals sign, or another sign before a call, a pipe to a program or another sheet's cell.
# "-", "@home" and "+49 30" are none.
_FORMULA = r"^\s*(=|[+@-][^\s(|!]*[(|!])"
_LONGEST_NAME = 255
# So far ahead no clock is set; as "never" or by a slip of the pen, dates lie there.
_AHEAD_DAYS = 730

LEARNER_STATUSES = ["active", "suspended"]
ENROLLMENT_STATUSES = ["active", "invited", "suspended", "expired", "completed", "withdrawn"]
COMPLETION_STATES = ["not_started", "in_progress", "completed"]
SCORE_ITEM_TYPES = ["course", "activity"]


def _check(code: Code, column: str, holds: Callable[[pl.Expr], pl.Expr]) -> pa.Check:
    """A row passes when `holds` is true or unknown; `column` is the one to blame."""
    return pa.Check(
        lambda data: data.lazyframe.select(holds(pl.col(column)).fill_null(value=True)), name=f"{code.code} {column}"
    )


def _one_of(column: str, words: list[str]) -> pa.Check:
    return _check(VOCABULARY, column, lambda value: value.is_in(words))


def _whole(column: str) -> pa.Check:
    """No character was lost on the way, in the LMS's export or in an answer that is no Unicode."""
    return _check(TYPE, column, lambda value: value.str.contains("\N{REPLACEMENT CHARACTER}", literal=True).not_())


def _plain(column: str) -> pa.Check:
    return _check(FORMULA, column, lambda value: value.str.contains(_FORMULA).not_())


def _short(column: str) -> pa.Check:
    return _check(LENGTH, column, lambda value: value.str.len_chars() <= _LONGEST_NAME)


def _has_been(column: str) -> pa.Check:
    return _check(FUTURE, column, lambda value: value <= pl.col("observed_at") + pl.duration(days=_AHEAD_DAYS))


def _schema(required: list[str], checks: list[pa.Check]) -> pa.DataFrameSchema:
    return pa.DataFrameSchema({column: pa.Column(nullable=False) for column in required}, checks=checks)


SCHEMAS: dict[LmsEntity, pa.DataFrameSchema] = {
    LmsEntity.LEARNERS: _schema(
        ["source_id", "email", "family_name", "status"],
        [
            # A deleted account's e-mail is a checksum: the one code that explains it is enough.
            _check(EMAIL, "email", lambda v: v.str.contains(_EMAIL) | _is_deleted()),
            _check(DELETED, "username", lambda _: _is_deleted().not_()),
            _check(VOCABULARY, "status", lambda v: v.is_in(LEARNER_STATUSES) | _is_deleted()),
            *map(_whole, ["username", "email", "given_name", "family_name"]),
            *(check(column) for column in ("given_name", "family_name") for check in (_short, _plain)),
            _plain("organization"),
        ],
    ),
    LmsEntity.COURSES: _schema(["source_id", "title"], [_whole("title"), _plain("title")]),
    LmsEntity.ENROLLMENTS: _schema(
        ["source_id", "learner_id", "course_id", "status"], [_one_of("status", ENROLLMENT_STATUSES)]
    ),
    LmsEntity.COMPLETIONS: _schema(
        ["source_id", "learner_id", "course_id", "state"],
        [
            _one_of("state", COMPLETION_STATES),
            _has_been("completed_at"),
            # The enrollment's date is joined to the row before it is checked.
            _check(ORDER, "completed_at", lambda v: v >= pl.col("enrolled_at")),
        ],
    ),
    LmsEntity.SCORES: _schema(
        ["source_id", "learner_id", "course_id", "item_type"],
        [
            _one_of("item_type", SCORE_ITEM_TYPES),
            _check(RANGE, "raw", lambda v: (v >= pl.col("min")).fill_null(value=True) & (v <= pl.col("max"))),
            _has_been("graded_at"),
        ],
    ),
    LmsEntity.COMPETENCIES: _schema(["source_id", "learner_id", "code", "name"], [_has_been("rated_at")]),
}


def _is_deleted() -> pl.Expr:
    return pl.col("username").str.contains(_MANGLED).fill_null(value=False)
