"""The catalogue of bad records: what the LMS holds, and by which code each ends without having reached the CRM.

The first half is the table "bad input and what it gets" of the facts on reliability, as rows; `test_bad_rows` has the same
as webhooks.
"""

from dataclasses import dataclass, field
from typing import Any

Row = tuple[str, str, dict[str, Any]]
"""Entity, id and fields of a row that the LMS gets."""

COURSE = "crs-0000001"
DAY, LATER, EARLIER = "2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z", "2026-04-30T23:59:59Z"
LMS, SALESFORCE, HUBSPOT = "lms", "salesforce", "hubspot"


@dataclass(frozen=True)
class Refusal:
    """Who is refused: by the checks on rows (`lms`, for either CRM), or on the way to one of the CRMs."""

    where: str
    kind: str
    id: str
    code: str
    blamed: str


@dataclass(frozen=True)
class BadRecord:
    """What the LMS gets that is bad, with all it takes; then what of it changes, if it is bad by a change."""

    rows: list[Row]
    refused: list[Refusal]
    changed: list[Row] = field(default_factory=list)


def learner(key: str, **fields: Any) -> Row:
    names = {"username": key, "email": f"{key}@bad.test", "given_name": "Ada", "family_name": f"Of {key}"}
    return "learners", key, {**names, "organization": "Globex", "status": "active", **fields}


def course(key: str, **fields: Any) -> Row:
    return "courses", key, {"title": f"Course {key}", "code": key, "visible": True, **fields}


def enrollment(key: str, **fields: Any) -> Row:
    status = {"role": "student", "status": "active", "enrolled_at": DAY}
    return "enrollments", key, {"learner_id": key, "course_id": COURSE, **status, **fields}


def completion(key: str, **fields: Any) -> Row:
    state = {"state": "completed", "progress_pct": 100, "completed_at": LATER}
    return "completions", key, {"learner_id": key, "course_id": COURSE, **state, **fields}


def score(key: str, **fields: Any) -> Row:
    return "scores", key, {"learner_id": key, "course_id": COURSE, "item_type": "course", "raw": 1, **fields}


def competency(key: str, name: str | None = "Knots", code: str | None = "K1", **fields: Any) -> Row:
    rated = {"competency": {"code": code, "name": name, "framework": "F"}, "rating": "good", "proficient": True}
    return "competencies", key, {"learner_id": key, "course_id": COURSE, **rated, **fields}


def one(code: str, blamed: str, row: Row, *with_it: Row) -> BadRecord:
    """One bad row, beside good ones that it needs."""
    return BadRecord([*with_it, row], [Refusal(LMS, row[0], row[1], code, blamed)])


def of_good(code: str, blamed: str, row: Row) -> BadRecord:
    """A bad row of a learner who is good."""
    return one(code, blamed, row, learner(row[1]))


def in_course(code: str, blamed: str, row: Row) -> BadRecord:
    """The same of one who is enrolled too."""
    return one(code, blamed, row, learner(row[1]), enrollment(row[1]))


def refused(where: str, kind: str, code: str, blamed: str, row: Row, *with_it: Row) -> BadRecord:
    """A row that is valid, and whose record a CRM would refuse or does refuse."""
    return BadRecord([row, *with_it], [Refusal(where, kind, row[1], code, blamed)])


BAD: dict[str, BadRecord] = {
    # 1xx: the row by itself.
    "no e-mail": one("LMS-101", "email", learner("b01", email=None)),
    "blank e-mail": one("LMS-101", "email", learner("b02", email=" \t ")),
    "no family name": one("LMS-101", "family_name", learner("b03", family_name="")),
    "no status": one("LMS-101", "status", learner("b04", status=None)),
    "course without a title": one("LMS-101", "title", course("b05", title=None)),
    "enrollment of nobody": one("LMS-101", "learner_id", enrollment("b06", learner_id=None)),
    "competency without a code": of_good("LMS-101", "code", competency("b07", code=None)),
    "replacement character": one("LMS-102", "given_name", learner("b08", given_name="Jos\ufffd")),
    "naive timestamp": of_good("LMS-102", "enrolled_at", enrollment("b09", enrolled_at="2026-05-01T00:00:00")),
    "day in the wrong order": of_good("LMS-102", "enrolled_at", enrollment("b10", enrolled_at="01/05/2026")),
    "neither yes nor no": one("LMS-102", "visible", course("b11", visible="perhaps")),
    "progress as a word": in_course("LMS-102", "progress_pct", completion("b12", progress_pct="half")),
    "integer above 2^53": in_course("LMS-102", "raw", score("b13", raw=2**53 + 1)),
    "id of 300 characters": one(
        "LMS-103", "source_id", learner("b14" + "x" * 297, username="b14", email="b14@bad.test", family_name="B")
    ),
    "address without @": one("LMS-104", "email", learner("b15", email="ada.bad.test")),
    "address with a blank": one("LMS-104", "email", learner("b16", email="ada l@bad.test")),
    "address without a domain": one("LMS-104", "email", learner("b17", email="ada@localhost")),
    "two addresses in one": one("LMS-104", "email", learner("b18", email="a@bad.test b@bad.test")),
    "unknown status": one("LMS-105", "status", learner("b19", status="frozen")),
    "unknown status of an enrollment": of_good("LMS-105", "status", enrollment("b20", status="on hold")),
    "unknown state": in_course("LMS-105", "state", completion("b21", state="failed", completed_at=None)),
    "unknown kind of score": in_course("LMS-105", "item_type", score("b22", item_type="mood")),
    "deleted account": one("LMS-106", "username", learner("b23", username="ada@bad.test.1767225600")),
    "300-character name": one("LMS-107", "family_name", learner("b24", family_name="x" * 300)),
    "formula": one("LMS-108", "given_name", learner("b25", given_name="=cmd|' /C calc'!A0")),
    "formula behind a sign": one("LMS-108", "family_name", learner("b26", family_name="@SUM(1+1)*cmd|'x'!A0")),
    "formula as an organization": one("LMS-108", "organization", learner("b27", organization='=HYPERLINK("x")')),
    "formula as a title": one("LMS-108", "title", course("b28", title="=1+1")),
    "date in 2099": in_course("LMS-109", "completed_at", completion("b29", completed_at="2099-01-01T00:00:00Z")),
    "enrolled in 2099": of_good("LMS-109", "enrolled_at", enrollment("b30", enrolled_at="2099-01-01T00:00:00Z")),
    "graded in 2099": in_course("LMS-109", "graded_at", score("b31", graded_at="2099-01-01T00:00:00Z")),
    "enrolled in 1970": of_good("LMS-110", "enrolled_at", enrollment("b32", enrolled_at="1970-01-01T00:00:00Z")),
    "rated in 1900": in_course("LMS-110", "rated_at", competency("b33", rated_at="1900-01-01T00:00:00Z")),
    "bell in a name": one("LMS-111", "given_name", learner("b34", given_name="Ada\x07")),
    "name that shows backwards": one("LMS-111", "family_name", learner("b35", family_name="gnp.\u202eexe")),
    # 2xx: against other rows, and as a matter of business.
    "ids that differ by case": BadRecord(
        [learner("B36"), learner("b36", email="other-b36@bad.test")],
        [Refusal(LMS, "learners", key, "LMS-201", "source_id") for key in ("B36", "b36")],
    ),
    "two learners with one e-mail": BadRecord(
        [learner("b37", email="one@bad.test"), learner("c37", email="ONE@bad.test")],
        [Refusal(LMS, "learners", key, "LMS-202", "email") for key in ("b37", "c37")],
    ),
    "missing learner": one("LMS-203", "learner_id", enrollment("b38", learner_id="lrn-none")),
    "of a refused learner": BadRecord(
        [learner("b39", email=None), enrollment("b39")],
        [
            Refusal(LMS, "learners", "b39", "LMS-101", "email"),
            Refusal(LMS, "enrollments", "b39", "LMS-203", "learner_id"),
        ],
    ),
    "unmapped course": of_good("LMS-204", "course_id", enrollment("b40", course_id="crs-none")),
    "in a refused course": BadRecord(
        [learner("b41"), course("b41", title=" "), enrollment("b41", course_id="b41")],
        [
            Refusal(LMS, "courses", "b41", "LMS-101", "title"),
            Refusal(LMS, "enrollments", "b41", "LMS-204", "course_id"),
        ],
    ),
    "score 101 %": in_course("LMS-205", "raw", score("b42", raw=101, min=0, max=100)),
    "score below its range": in_course("LMS-205", "raw", score("b43", raw=-1, min=0, max=100)),
    "completion before enrolment": in_course("LMS-206", "completed_at", completion("b44", completed_at=EARLIER)),
    "progress of 140 %": in_course("LMS-207", "progress_pct", completion("b45", progress_pct=140)),
    "progress below zero": in_course(
        "LMS-207", "progress_pct", completion("b46", state="in_progress", progress_pct=-5, completed_at=None)
    ),
    "completed with 60 %": in_course("LMS-208", "progress_pct", completion("b47", progress_pct=60)),
    "course that ends before it starts": one("LMS-209", "ends_at", course("b48", starts_at=DAY, ends_at=EARLIER)),
    "enrollment that ends before it starts": of_good("LMS-209", "ends_at", enrollment("b49", ends_at=EARLIER)),
    "dated but not completed": in_course(
        "LMS-210", "completed_at", completion("b50", state="in_progress", progress_pct=50)
    ),
    "completed, then not started": BadRecord(
        [learner("b51"), enrollment("b51"), completion("b51")],
        [Refusal(LMS, "completions", "b51", "LMS-211", "state")],
        [("completions", "b51", {"state": "not_started", "progress_pct": 0, "completed_at": None})],
    ),
    "completed without an enrollment": of_good("LMS-212", "course_id", completion("b52")),
    "against a rule of the tenant's own": one("LMS-299", "email", learner("b53", email="ada@forbidden.test")),
    # 3xx: what the CRM would refuse. HubSpot's fields are longer and wider.
    "name too long for the CRM": refused(
        SALESFORCE, "contact", "LMS-301", "FirstName", learner("b54", given_name="x" * 41)
    ),
    "title too long for the CRM": refused(SALESFORCE, "course", "LMS-301", "Name", course("b55", title="x" * 81)),
    "id too long for the CRM": refused(
        SALESFORCE,
        "contact",
        "LMS-301",
        "LMS_User_Id__c",
        learner("b56" + "x" * 62, username="b56", email="b56@bad.test"),
    ),
    "no value of the CRM's picklist": refused(
        SALESFORCE, "enrollment", "LMS-302", "Status__c", enrollment("b57", status="expired"), learner("b57")
    ),
    "nothing for a field that the CRM needs": refused(
        SALESFORCE, "contact", "LMS-303", "LMS_Organization__c", learner("b58", organization=None)
    ),
    "taken from another": BadRecord(
        [learner("b59", username="same"), learner("c59", username="SAME")],
        [Refusal(SALESFORCE, "contact", key, "LMS-304", "LMS_Username__c") for key in ("b59", "c59")],
    ),
    "score too large for the CRM": refused(
        SALESFORCE,
        "completion",
        "LMS-305",
        "Score__c",
        completion("b60"),
        *(learner("b60"), enrollment("b60"), score("b60", raw=1000, max=None)),
    ),
    "of a learner whom the CRM would refuse": BadRecord(
        [learner("b61", given_name="x" * 41), enrollment("b61")],
        [
            Refusal(SALESFORCE, "contact", "b61", "LMS-301", "FirstName"),
            Refusal(SALESFORCE, "enrollment", "b61", "LMS-307", "contact"),
        ],
    ),
    # 4xx: what the CRM refuses after all.
    "address that no CRM takes": BadRecord(
        [learner("b62", email="a,da@bad.test")],
        [Refusal(where, "contact", "b62", "LMS-401", "upsert") for where in (SALESFORCE, HUBSPOT)],
    ),
    "duplicate rule": refused(SALESFORCE, "contact", "LMS-402", "upsert", learner("b63-twin")),
    "conflict": refused(HUBSPOT, "contact", "LMS-402", "upsert", learner("b64-conflict")),
    "missing in a trigger": refused(SALESFORCE, "contact", "LMS-403", "upsert", learner("b65-needed")),
    "validation rule": refused(SALESFORCE, "contact", "LMS-404", "upsert", learner("b66", family_name="Of Robots")),
    "no access": refused(SALESFORCE, "contact", "LMS-405", "upsert", learner("b67-access")),
    "deleted under way": refused(SALESFORCE, "contact", "LMS-406", "upsert", learner("b68-deleted")),
    "refused without a known reason": refused(SALESFORCE, "contact", "LMS-499", "upsert", learner("b69-odd")),
}

RULES: dict[str, Any] = {
    "max_invalid_share": 0.9,
    "rules": [{"code": f"LMS-{number}", "severity": "error"} for number in (208, 209, 210, 211, 212)],
    "own": [
        {
            "name": "allowed_address",
            "entity": "learners",
            "column": "email",
            "holds": "NOT email LIKE '%@forbidden.test'",
            "meaning": "The address belongs to a domain that sales must not see.",
        }
    ],
}
"""What the catalogue's contracts say under `checks`."""

SCHEMA_CHANGES: list[dict[str, Any]] = [
    {"object": "Contact", "op": "change", "field": "LMS_Username__c", "to": {"unique": True}},
    {"object": "Contact", "op": "change", "field": "LMS_Organization__c", "to": {"required": True}},
    {"object": "LMS_Enrollment__c", "op": "change", "field": "Status__c", "to": {"inactive": ["expired"]}},
    {"object": "LMS_Completion__c", "op": "change", "field": "Score__c", "to": {"precision": 8, "scale": 5}},
]
"""What the simulated org is made like before anything is sent, so that it would refuse some of the catalogue."""

SALESFORCE_OPTIONS: dict[str, Any] = {
    "validation_rules": [{"object": "Contact", "field": "LastName", "pattern": "Robots", "message": "no robots"}],
    "row_faults": [
        {"object": "Contact", "key_pattern": pattern, "statusCode": code, "message": "arranged"}
        for pattern, code in (
            ("^b63", "DUPLICATES_DETECTED"),
            ("^b65", "REQUIRED_FIELD_MISSING"),
            ("^b67", "INSUFFICIENT_ACCESS_OR_READONLY"),
            ("^b68", "ENTITY_IS_DELETED"),
            ("^b69", "MIXED_DML_OPERATION"),
        )
    ],
}
HUBSPOT_OPTIONS: dict[str, Any] = {
    "record_faults": [{"object": "contacts", "key_pattern": "^b64", "category": "CONFLICT", "message": "arranged"}]
}
