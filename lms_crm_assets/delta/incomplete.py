"""Fields that are made of several rows of the LMS, of which one was valid and is refused now: left as the CRM has them.

Without it a completion that turned invalid would take a course from its learner's number, and a refused score would empty
the completion's. A row in quarantine has not left.
"""

from collections.abc import Mapping

import duckdb

from lms_crm_assets.contract.canonical import ROLL_UPS
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.domain import Action, CrmObject
from lms_crm_assets.warehouse.sql import literal

INCOMPLETE = "incomplete"
"""The class of a field that is not written since one of its rows is refused."""

_SCORE = frozenset({"score", "score_max", "score_pct", "passed"})
_MADE_OF_ROWS: Mapping[CrmObject, frozenset[str]] = {
    CrmObject.CONTACT: frozenset(ROLL_UPS),
    CrmObject.COMPLETION: _SCORE,
}
# Of rows that never were valid nothing is missing: the feed tells the others.
_REFUSED = (
    'SELECT q."row" FROM staging.quarantine q SEMI JOIN (SELECT entity, source_id FROM staging.changes'
    " WHERE op = 'refused') c ON c.entity = q.entity AND c.source_id = q.source_id WHERE q.entity IN ({})"
)
# Not by `->>`, which binds weaker than `=`.
_LEARNER, _COURSE = (f"json_extract_string(r.\"row\", '{column}')" for column in ("learner_id", "course_id"))
_CHILDREN, _SCORES = (
    f"({_REFUSED.format(entities)}) r" for entities in ("'enrollments', 'completions', 'competencies'", "'scores'")
)
_CONCERNED: Mapping[CrmObject, str] = {
    CrmObject.CONTACT: f"SELECT {_LEARNER} FROM {_CHILDREN}",
    CrmObject.COMPLETION: f"SELECT c.source_id FROM staging.completion c JOIN {_SCORES}"
    f" ON {_LEARNER} = c.learner_id AND {_COURSE} = c.course_id",
}


def leave_incomplete(con: duckdb.DuckDBPyConnection, spec: ObjectSpec) -> None:
    """Take such fields out of what the temp table `different` would overwrite."""
    made = _MADE_OF_ROWS.get(spec.object, frozenset())
    fields = [name for name, field in spec.fields.items() if not made.isdisjoint(field.columns)]
    if not fields:
        return
    named = ", ".join(map(literal, fields))
    con.execute(
        "UPDATE different SET changes = list_transform(changes, lambda c: CASE WHEN c.written AND c.old IS NOT NULL"
        f" AND c.field IN ({named}) THEN struct_update(c, written := false, class := '{INCOMPLETE}') ELSE c END)"
        f" WHERE action = '{Action.UPDATE}' AND external_id IN ({_CONCERNED[spec.object]})"
    )
    con.execute(
        f"UPDATE different SET action = '{Action.UNCHANGED}' WHERE action = '{Action.UPDATE}'"
        " AND len(list_filter(changes, lambda c: c.written)) = 0 AND cardinality(parents) = 0"
    )
