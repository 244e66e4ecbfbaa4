"""What the CRM holds against what the school says, from the CRM's own records: lost, duplicated and wrong ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lms_crm_assets.demo.proof import compare, expected_record
from lms_crm_assets.demo.proof_crm import HUBSPOT, SALESFORCE, held_in_hubspot, held_in_salesforce
from lms_crm_assets.demo.proof_school import ValidRow
from lms_crm_assets.domain import LmsEntity

Rows = Mapping[LmsEntity, Mapping[str, Mapping[str, Any]]]

_ENTITIES = {
    "contact": LmsEntity.LEARNERS,
    "course": LmsEntity.COURSES,
    "enrollment": LmsEntity.ENROLLMENTS,
    "completion": LmsEntity.COMPLETIONS,
    "competency": LmsEntity.COMPETENCIES,
}


@dataclass(frozen=True)
class Verdict:
    """Records that are missing, stand there more than once or belong to nobody, or hold something else than they should."""

    lost: int = 0
    duplicated: int = 0
    wrong: int = 0

    def __add__(self, other: "Verdict") -> "Verdict":
        """Both together."""
        return Verdict(self.lost + other.lost, self.duplicated + other.duplicated, self.wrong + other.wrong)


def judged(crm: str, address: str, rows: Rows, *, without: frozenset[str] = frozenset()) -> Verdict:
    """The CRM (`salesforce` or `hubspot`) at the address against the rows of the school that there are.

    `without` are keys that don't count.
    """
    mapping = SALESFORCE if crm == "salesforce" else HUBSPOT
    held = held_in_salesforce(address) if crm == "salesforce" else held_in_hubspot(address)
    found = Verdict()
    for kind, entity in _ENTITIES.items():
        if entity not in rows:
            continue
        expected = [
            expected_record(_valid(key, row), mapping[kind]) for key, row in rows[entity].items() if key not in without
        ]
        counted = [record for record in held[kind] if record.key not in without]
        proof = compare(len(rows[entity]), expected, counted)
        found += Verdict(len(proof.missing), len(proof.surplus), len(proof.differing))
    return found


def duplicates(crm: str, address: str) -> int:
    """Records beyond the first of each key, whatever they hold."""
    held = held_in_salesforce(address) if crm == "salesforce" else held_in_hubspot(address)
    return sum(len(records) - len({record.key for record in records}) for records in held.values())


def _valid(key: str, row: Mapping[str, Any]) -> ValidRow:
    values = {name: Decimal(str(value)) if isinstance(value, float) else value for name, value in row.items()}
    values.setdefault("score", None)
    return ValidRow(key, values, row.get("learner_id"), row.get("course_id"))
