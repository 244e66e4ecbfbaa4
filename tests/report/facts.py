"""A run of a tenant as the report's facts, with something of everything in it."""

from datetime import UTC, datetime, timedelta

from lms_crm_assets.report.facts import (
    CHECKS,
    CRM,
    SCHEMA,
    Limits,
    ObjectFacts,
    PlanFacts,
    RefusedFacts,
    RunFacts,
)

NOW = datetime(2026, 11, 27, 2, 4, 11, tzinfo=UTC)
LIMITS = Limits(0.5, None, 0.1, 1000, 50, 0.8)
CONTACTS = ObjectFacts(
    "contact", invalid=7, agreed=1830, create=12, update=41, archive=1, created=12, updated=38, archived=1, overwritten=5,
    kept=9, withheld=2, rejected=2, failed=1, replaced=30, live=1900,
)  # fmt: skip
REFUSED = (
    RefusedFacts("LMS-104", "email_format", CHECKS, "learners", 7),
    RefusedFacts("LMS-302", "crm_picklist", SCHEMA, "contact", 2),
    RefusedFacts("LMS-401", "crm_value", CRM, "contact", 2, "INVALID_EMAIL_ADDRESS"),
)


def run_facts(run_id: str = "3f2b7c1e", *, hours: int = 0, **changes: object) -> RunFacts:
    """The run, so many hours later."""
    ended = NOW + timedelta(hours=hours)
    facts: dict[str, object] = {
        "tenant": "acme",
        "run_id": run_id,
        "job": "full_reconcile",
        "started_by": "schedule:full",
        "began_at": ended - timedelta(seconds=131),
        "ended_at": ended,
        "lms": "moodle",
        "crm": "salesforce",
        "objects": (CONTACTS,),
        "refused": REFUSED,
        "limits": LIMITS,
        "promised_minutes": 1500,
        "plan": PlanFacts("p-1", "approved", 43, 0.3),
        "agreed_before": ended - timedelta(days=1),
        "quota": (41_250, 100_000),
    }
    return RunFacts(**{**facts, **changes})  # type: ignore[arg-type]  # the caller's own
