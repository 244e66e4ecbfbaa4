"""The oracle: whether the CRMs hold what the LMSs hold under the mapping, record by record.

It is written from the specification alone and sees only what the sandboxes' `/_sandbox/records` answer, so that it
can't share a mistake with the product. `proof_moodle` and `proof_school` tell what is expected, `proof_crm` what is
held.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from lms_crm_assets.demo.proof_crm import HUBSPOT, SALESFORCE, CrmObject, Held, held_in_hubspot, held_in_salesforce
from lms_crm_assets.demo.proof_moodle import moodle_rows
from lms_crm_assets.demo.proof_school import OBJECT_OF, Row, ValidRow, Value, school_rows, valid_rows

_BLANK = (None, "", False, "false")


@dataclass(frozen=True)
class Expected:
    """A record that the CRM must hold: its values by CRM field, and the match key behind each link, None for no link."""

    key: str
    fields: Mapping[str, Value]
    links: Mapping[str, str | None]


@dataclass(frozen=True)
class ObjectProof:
    """How one object stands: rows of the LMS, records expected and held, and the match keys that are at odds.

    `differing` has the CRM fields whose value differs by match key; a wrong link is told as the lookup field
    (Salesforce) or the associated object (HubSpot).
    """

    in_lms: int
    expected: int
    held: int
    missing: list[str]
    surplus: list[str]
    differing: dict[str, list[str]]

    @property
    def agrees(self) -> bool:
        """Whether every expected record is held as it should be, and no other."""
        return self.expected == self.held and not (self.missing or self.surplus or self.differing)


def prove_acme(
    moodle_url: str, salesforce_url: str, *, created_by_us: bool = False, now: datetime | None = None
) -> dict[str, ObjectProof]:
    """Moodle against Salesforce, by object; `now` decides whether an enrolment that is not current has yet to start.

    `created_by_us`: nobody else has written to the CRM and the LMS has not changed, so that what is blank in the LMS
    has to be blank in the CRM. Otherwise a blank is not compared, for it is never written.
    """
    rows = moodle_rows(moodle_url, now=now or datetime.now(UTC))
    return _prove(rows, SALESFORCE, held_in_salesforce(salesforce_url), created_by_us=created_by_us)


def prove_globex(school_url: str, hubspot_url: str, *, created_by_us: bool = False) -> dict[str, ObjectProof]:
    """The school against HubSpot, by object; `created_by_us` as for `prove_acme`."""
    return _prove(school_rows(school_url), HUBSPOT, held_in_hubspot(hubspot_url), created_by_us=created_by_us)


def agrees(proofs: Mapping[str, ObjectProof]) -> bool:
    """Whether all objects agree; nothing proved is no agreement."""
    return bool(proofs) and all(proof.agrees for proof in proofs.values())


def compare(
    in_lms: int, expected: Iterable[Expected], held: Iterable[Held], *, created_by_us: bool = False
) -> ObjectProof:
    """The expected records of one object against the held ones; a second record of one key is surplus."""
    wanted = {record.key: record for record in expected}
    found: dict[str, Held] = {}
    surplus, number = [], 0
    for record in held:
        number += 1
        if record.key not in wanted or record.key in found:
            surplus.append(record.key)
        else:
            found[record.key] = record
    differences = {key: _differences(wanted[key], found[key], created_by_us=created_by_us) for key in sorted(found)}
    return ObjectProof(
        in_lms=in_lms,
        expected=len(wanted),
        held=number,
        missing=sorted(wanted.keys() - found.keys()),
        surplus=sorted(surplus),
        differing={key: names for key, names in differences.items() if names},
    )


def _prove(
    rows: Mapping[str, Sequence[Row]],
    mapping: Mapping[str, CrmObject],
    held: Mapping[str, Sequence[Held]],
    *,
    created_by_us: bool,
) -> dict[str, ObjectProof]:
    valid = valid_rows(rows)
    return {
        kind: compare(
            len(rows[entity]),
            [expected_record(row, mapping[kind]) for row in valid[kind]],
            held[kind],
            created_by_us=created_by_us,
        )
        for entity, kind in OBJECT_OF.items()
    }


def expected_record(row: ValidRow, crm: CrmObject) -> Expected:
    """What a CRM must hold for a valid row."""
    parents = {"contact": row.learner_id, "course": row.course_id}
    return Expected(
        row.key,
        {name: _at_scale(row.values[canonical], crm.scales.get(canonical)) for canonical, name in crm.fields.items()},
        {name: parents[kind] for kind, name in crm.links.items()},
    )


def _at_scale(value: Value, scale: int | None) -> Value:
    if isinstance(value, Decimal) and scale is not None:
        return value.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP)
    return value


def _differences(expected: Expected, held: Held, *, created_by_us: bool) -> list[str]:
    values = [
        name
        for name, value in expected.fields.items()
        if not _same(value, held.fields[name]) and (value is not None or created_by_us)
    ]
    links = [name for name, key in expected.links.items() if list(held.links[name]) != ([] if key is None else [key])]
    return values + links


def _same(value: Value, shown: Any) -> bool:
    """Whether what a CRM shows is the expected value: text and truth by the letter, numbers and moments by meaning."""
    match value:
        case None:
            return shown in _BLANK
        case bool():
            return shown is value or shown == str(value).lower()
        case Decimal():
            return _as_number(shown) == value
        case datetime():
            # To the second: Salesforce keeps no fractions.
            moment = _as_moment(shown)
            return moment is not None and int(moment.timestamp()) == int(value.timestamp())
        case _:
            return bool(shown == value)


def _as_number(shown: Any) -> Decimal | None:
    try:
        return None if shown is None or isinstance(shown, bool) else Decimal(str(shown))
    except InvalidOperation:
        return None


def _as_moment(shown: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(shown)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else None
