"""A message about an alert as people and programs get it: no learner data, no secrets."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lms_crm_assets.alerts.register import FIRED, RECOVERED, Alert, is_reminder

_NAMES = {
    "run_failed": "Run failed",
    "rejected": "Records not taken",
    "drift": "Edited in the CRM",
    "stale": "Not as fresh as promised",
    "queue": "Events pile up",
    "quota": "Daily calls run out",
    "credential": "Credential refused",
    "expiry": "Something ends soon",
    "schema_changed": "Schema changed",
    "plan_waits": "Plan waits for a person",
    "switched_to_pull": "Switched to pull",
    "paused": "Paused for long",
    "contract": "Contract unreadable",
}


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. `id` is the same however often it is sent; moments are seconds since 1970.

    `event`: `alert.fired`, `alert.reminded`, `alert.recovered` or `alert.test`.
    """

    id: str
    event: str
    tenant: str
    kind: str
    subject: str
    told: str
    todo: str
    since: float
    at: float
    run_id: str = ""
    run_url: str = ""

    @property
    def title(self) -> str:
        """The message in one line."""
        name = _NAMES.get(self.kind, self.kind)
        match self.event:
            case "alert.recovered":
                name = f"Recovered: {name[:1].lower()}{name[1:]}"
            case "alert.reminded":
                name = f"Still: {name[:1].lower()}{name[1:]}"
            case "alert.test":
                name = "Test message"
        return f"[{self.tenant}] {name}"

    @property
    def lines(self) -> list[str]:
        """What is said below the title."""
        if self.event == "alert.recovered":
            return [f"Over at {_moment(self.at)}, began {_moment(self.since)}.", f"It was: {self.told}."]
        found = [
            f"{self.told[:1].upper()}{self.told[1:]}.",
            f"Since {_moment(self.since)}.",
            f"What to do: {self.todo}.",
        ]
        return [*found, f"Run {self.run_id}: {self.run_url}"] if self.run_url else found

    def plain(self) -> dict[str, Any]:
        """The message as JSON; what does not apply is null."""
        return {
            "type": self.event,
            "timestamp": _iso(self.at),
            "data": {
                "tenant": self.tenant,
                "kind": self.kind,
                "subject": self.subject or None,
                "title": self.title,
                "text": self.told,
                "todo": self.todo or None,
                "since": _iso(self.since),
                "recovered_at": _iso(self.at) if self.event == "alert.recovered" else None,
                "run_id": self.run_id or None,
                "run_url": self.run_url or None,
            },
        }


def message_of(alert: Alert, channel: str, what: str, at: float, environ: Mapping[str, str]) -> Message:
    """The message `what` about an alert; `LMS_CRM_UI_URL` in the environment says where runs are looked at."""
    events = {FIRED: "alert.fired", RECOVERED: "alert.recovered"}
    named = f"{alert.tenant} {alert.kind} {alert.subject} {alert.number} {alert.since} {channel} {what}"
    ui = environ.get("LMS_CRM_UI_URL", "").strip().rstrip("/")
    return Message(
        id=f"msg_{hashlib.sha256(named.encode()).hexdigest()[:32]}",
        event="alert.reminded" if is_reminder(what) else events[what],
        tenant=alert.tenant,
        kind=alert.kind,
        subject=alert.subject,
        told=alert.told,
        todo="" if what == RECOVERED else alert.todo,
        since=alert.since,
        at=alert.recovered_at if what == RECOVERED and alert.recovered_at is not None else at,
        run_id=alert.run_id,
        run_url=f"{ui}/runs/{alert.run_id}" if ui and alert.run_id else "",
    )


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def _iso(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
