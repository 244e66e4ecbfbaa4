"""The rules on a single row: a predicate a code, put together as the pandera schema of a tenant's rows.

Which columns a rule judges and what of it a contract may change stands in `contract.checked`, under the same codes.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import pandera.polars as pa
import polars as pl

from lms_crm_assets.checks import codes
from lms_crm_assets.contract.canonical import VOCABULARIES
from lms_crm_assets.domain import CrmObject, LmsEntity

Predicate = Callable[[LmsEntity, str, float], pl.Expr]
"""Gives the condition that an entity's column has to meet, under the rule's limit; a row passes where it is unknown."""

_EMAIL = r"^[^@\s]+@[^@\s.]+(\.[^@\s.]+)+$"
# Moodle renames a deleted account to <e-mail>.<epoch> and sets the e-mail to the MD5 of the user name.
_MANGLED = r"@.*\.\d{9,11}$"

# As spreadsheets read it: an equals sign, or another sign before a call, a pipe to a program or another sheet's cell.
# "-", "@home" and "+49 30" are none.
_FORMULA = r"^\s*(=|[+@-][^\s(|!]*[(|!])"
# C0 and C1 but for tab and line ends, and the marks that embed, override or isolate a direction of writing.
_UNPRINTABLE = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F\u{202A}-\u{202E}\u{2066}-\u{2069}]"
_NO_KEY = r"[\x00-\x1F\x7F]"
_LOST = "\N{REPLACEMENT CHARACTER}"
_WHOLE_PERCENT = 100

STATE_BEFORE = "state_before"
"""The column that candidates have beside the canonical ones: the row's status or state as it was valid last."""
ENROLLED_AT = "enrolled_at"
"""Of completions the moment since which the learner is in the course, which is joined before the check."""

WORDS: Mapping[tuple[LmsEntity, str], frozenset[str]] = {
    (LmsEntity.LEARNERS, "status"): VOCABULARIES[CrmObject.CONTACT]["status"],
    (LmsEntity.ENROLLMENTS, "status"): VOCABULARIES[CrmObject.ENROLLMENT]["status"],
    (LmsEntity.COMPLETIONS, "state"): VOCABULARIES[CrmObject.COMPLETION]["state"],
    (LmsEntity.SCORES, "item_type"): frozenset({"course", "activity"}),
}
"""The columns with a closed set of words."""
# From which states no way leads to which other one.
_NO_WAY: Mapping[LmsEntity, tuple[tuple[str, ...], str]] = {
    LmsEntity.ENROLLMENTS: (("active", "suspended", "completed"), "invited"),
    LmsEntity.COMPLETIONS: (("completed",), "not_started"),
}


def _is_deleted() -> pl.Expr:
    return pl.col("username").str.contains(_MANGLED).fill_null(value=False)


def _unless_deleted(entity: LmsEntity, holds: pl.Expr) -> pl.Expr:
    """A deleted account's e-mail is a checksum: the one code that explains it is enough."""
    return holds | _is_deleted() if entity is LmsEntity.LEARNERS else holds


def _range(_entity: LmsEntity, _column: str, _limit: float) -> pl.Expr:
    raw = pl.col("raw")
    return (raw >= pl.col("min")).fill_null(value=True) & (raw <= pl.col("max"))


def _transition(entity: LmsEntity, column: str, _limit: float) -> pl.Expr:
    before, after = _NO_WAY[entity]
    return ((pl.col(column) == after) & pl.col(STATE_BEFORE).is_in(before)).not_()


def _started(entity: LmsEntity) -> pl.Expr:
    start = pl.col("starts_at")
    return start if entity is LmsEntity.COURSES else pl.coalesce(start, pl.col("enrolled_at"))


PREDICATES: dict[str, Predicate] = {
    codes.TYPE.code: lambda _entity, column, _limit: pl.col(column).str.contains(_LOST, literal=True).not_(),
    codes.KEY_FORMAT.code: lambda _entity, column, limit: (
        (pl.col(column).str.len_chars() <= limit) & pl.col(column).str.contains(_NO_KEY).not_()
    ),
    codes.EMAIL.code: lambda entity, column, _limit: _unless_deleted(entity, pl.col(column).str.contains(_EMAIL)),
    codes.VOCABULARY.code: lambda entity, column, _limit: _unless_deleted(
        entity, pl.col(column).is_in(sorted(WORDS[entity, column]))
    ),
    codes.DELETED.code: lambda _entity, _column, _limit: _is_deleted().not_(),
    codes.LENGTH.code: lambda _entity, column, limit: pl.col(column).str.len_chars() <= limit,
    codes.FORMULA.code: lambda _entity, column, _limit: pl.col(column).str.contains(_FORMULA).not_(),
    codes.FUTURE.code: lambda _entity, column, limit: (
        pl.col(column) <= pl.col("observed_at") + pl.duration(days=pl.lit(int(limit)))
    ),
    codes.ANCIENT.code: lambda _entity, column, limit: (
        pl.col(column) >= pl.lit(datetime(max(1, int(limit)), 1, 1, tzinfo=UTC))
    ),
    codes.UNPRINTABLE.code: lambda _entity, column, _limit: pl.col(column).str.contains(_UNPRINTABLE).not_(),
    codes.RANGE.code: _range,
    codes.ORDER.code: lambda _entity, column, _limit: pl.col(column) >= pl.col(ENROLLED_AT),
    codes.PROGRESS.code: lambda _entity, column, limit: pl.col(column).is_between(0, limit),
    codes.UNFINISHED.code: lambda _entity, column, _limit: (
        (pl.col("state") != "completed") | (pl.col(column) >= _WHOLE_PERCENT)
    ),
    codes.BACKWARDS.code: lambda entity, column, _limit: pl.col(column) >= _started(entity),
    codes.EARLY_DATE.code: lambda _entity, column, _limit: pl.col(column).is_null() | (pl.col("state") == "completed"),
    codes.TRANSITION.code: _transition,
}
"""The rules on a single row but for a missing value, which is pandera's own `not_nullable`."""

OWN_PREFIX = "own_rule_"
"""With the rule's name after it a column in which a candidate holds the verdict of a rule of the tenant's own."""


def holds(code: str, entity: LmsEntity, column: str, limit: float) -> pl.Expr:
    """Whether a row keeps one rule on one column."""
    return PREDICATES[code](entity, column, limit).fill_null(value=True)


def own_holds(name: str) -> pl.Expr:
    """The same of a rule of the tenant's own, whose verdict DuckDB has computed."""
    return pl.col(f"{OWN_PREFIX}{name}").fill_null(value=True)


def check(code: str, what: str, kept: pl.Expr) -> pa.Check:
    """A rule as a pandera check, named `<code> <column>`, of the tenant's own `<code> <rule's name>`."""
    return pa.Check(lambda data: data.lazyframe.select(kept), name=f"{code} {what}")
