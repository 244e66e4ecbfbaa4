"""What is amiss and since when, and who was told of it. Owns the tables `alerts` and `alert_messages`.

A thing that is amiss has one open row, however often and by however many processes it is found. Who wants to tell a channel
of it claims that message first: of two processes one gets it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from lms_crm_assets.alerts.conditions import Findings
from lms_crm_assets.contract.alerts import AlertKind
from lms_crm_assets.ops.store import OperationalStore

# Longer than any channel takes; who claimed a message and was killed then leaves it to the next look.
_CLAIM_SECONDS = 600.0
# A channel that is gone for good is asked twice an hour.
_AT_ONCE = 3
_WAIT_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 1800.0
# So long after it was over a channel that failed until then still hears of the recovery.
_RECOVERY_SECONDS = 7 * 86_400.0

_COLUMNS = ("number", "tenant", "kind", "subject", "since", "told", "todo", "run_id", "recovered_at")
FIRED, RECOVERED = "fired", "recovered"
_REMINDER = "reminder-"


@dataclass(frozen=True, slots=True)
class Told:
    """One message to one channel: when it was taken, None when not yet, and what was in the way of it.

    Until `claimed_until` nobody else may send it: somebody does, or it is too early for another try.
    """

    claimed_until: float
    sent_at: float | None
    tries: int
    trouble: str


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that is or was amiss; moments in seconds since 1970. `told_to` holds channel → message → what became of it."""

    number: int
    tenant: str
    kind: str
    subject: str
    since: float
    told: str
    todo: str
    run_id: str
    recovered_at: float | None
    told_to: Mapping[str, Mapping[str, Told]] = field(default_factory=dict)

    def trouble_with(self, channel: str) -> str:
        """Why the channel did not take its newest message, empty when it did."""
        told = self.told_to.get(channel, {}).values()
        return next((each.trouble for each in told if each.sent_at is None and each.trouble), "")


@dataclass(frozen=True)
class Register:
    """The alerts in a store."""

    store: OperationalStore

    def note(self, tenant: str, found: Findings) -> None:
        """Open what is amiss newly, keep what still is up to date, and close what is over."""
        now = self.store.clock()
        amiss = {(each.kind.value, each.subject): each for each in found.violations}
        with self.store.transaction(on=tenant) as run:
            open_rows = run(
                "SELECT number, kind, subject FROM alerts WHERE tenant = ? AND recovered_at IS NULL", (tenant,)
            )
            for number, kind, subject in open_rows:
                if (still := amiss.pop((kind, subject), None)) is not None:
                    run(
                        "UPDATE alerts SET told = ?, todo = ?, run_id = ? WHERE number = ?",
                        (still.told, still.todo, still.run_id, number),
                    )
                elif kind not in set(AlertKind) or found.is_known(AlertKind(kind), subject):
                    run("UPDATE alerts SET recovered_at = ? WHERE number = ?", (now, number))
            for each in amiss.values():
                run(
                    "INSERT INTO alerts (tenant, kind, subject, since, told, todo, run_id) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (tenant, each.kind.value, each.subject, now, each.told, each.todo, each.run_id),
                )

    def find(self, tenant: str | None = None, *, recovered_since: float | None = None) -> list[Alert]:
        """The alerts that are open, and those that are over since that moment; the oldest first."""
        rows = self.store.read(
            f"SELECT {', '.join(_COLUMNS)} FROM alerts"
            " WHERE (recovered_at IS NULL OR recovered_at >= ?) AND (? = '' OR tenant = ?) ORDER BY number",
            (self.store.clock() + 1e9 if recovered_since is None else recovered_since, tenant or "", tenant or ""),
        )
        messages: dict[int, dict[str, dict[str, Told]]] = {}
        if rows:
            sent = self.store.read(
                "SELECT alert, channel, what, claimed_until, sent_at, tries, trouble FROM alert_messages WHERE alert >= ?",
                (rows[0][0],),
            )
            for alert, channel, what, *told in sent:
                messages.setdefault(alert, {}).setdefault(channel, {})[what] = Told(*told)
        return [Alert(**dict(zip(_COLUMNS, row, strict=True)), told_to=messages.get(row[0], {})) for row in rows]

    def to_tell(self, tenant: str) -> list[Alert]:
        """The tenant's alerts of which somebody may have to hear."""
        return self.find(tenant, recovered_since=self.store.clock() - _RECOVERY_SECONDS)

    def tenants_waiting(self) -> list[str]:
        """The tenants with a message that a channel did not take, and that is due once more."""
        found = self.store.read(
            "SELECT DISTINCT a.tenant FROM alerts a JOIN alert_messages m ON m.alert = a.number"
            " WHERE m.sent_at IS NULL AND m.claimed_until < ? AND (a.recovered_at IS NULL OR (m.what = ? AND"
            " a.recovered_at >= ?))",
            (self.store.clock(), RECOVERED, self.store.clock() - _RECOVERY_SECONDS),
        )
        return sorted(tenant for (tenant,) in found)

    def claim(self, alert: Alert, channel: str, what: str) -> bool:
        """Whether the message is ours to send: it is not sent, and nobody is at it."""
        now = self.store.clock()
        with self.store.transaction(on=alert.tenant) as run:
            return bool(
                run(
                    "INSERT INTO alert_messages (alert, channel, what, claimed_until, tries, trouble)"
                    " VALUES (?, ?, ?, ?, 1, '') ON CONFLICT (alert, channel, what) DO UPDATE SET"
                    " claimed_until = excluded.claimed_until, tries = alert_messages.tries + 1, trouble = ''"
                    " WHERE alert_messages.sent_at IS NULL AND alert_messages.claimed_until < ? RETURNING tries",
                    (alert.number, channel, what, now + _CLAIM_SECONDS, now),
                )
            )

    def sent(self, alert: Alert, channel: str, what: str, trouble: str = "") -> None:
        """The channel took the message; `trouble` is what is to be mended all the same."""
        with self.store.transaction(on=alert.tenant, durable=True) as run:
            run(
                "UPDATE alert_messages SET claimed_until = 0, sent_at = ?, trouble = ?"
                " WHERE alert = ? AND channel = ? AND what = ?",
                (self.store.clock(), trouble, alert.number, channel, what),
            )

    def failed(self, alert: Alert, channel: str, what: str, trouble: str) -> None:
        """The channel did not take the message: the next look tries again, after some tries a later one."""
        message = (alert.number, channel, what)
        with self.store.transaction(on=alert.tenant) as run:
            [(tries,)] = run("SELECT tries FROM alert_messages WHERE alert = ? AND channel = ? AND what = ?", message)
            wait = _WAIT_SECONDS * 2.0 ** (tries - _AT_ONCE - 1) if tries > _AT_ONCE else 0.0
            run(
                "UPDATE alert_messages SET claimed_until = ?, trouble = ? WHERE alert = ? AND channel = ? AND what = ?",
                (self.store.clock() + min(wait, _LONGEST_WAIT_SECONDS) - 1, trouble, *message),
            )

    def close_others(self, tenants: Collection[str]) -> None:
        """Close what is open of tenants other than these; nobody is told, since nobody says whom to tell."""
        for (tenant,) in self.store.read("SELECT DISTINCT tenant FROM alerts WHERE recovered_at IS NULL"):
            if tenant not in tenants:
                with self.store.transaction(on=tenant) as run:
                    run(
                        "UPDATE alerts SET recovered_at = ? WHERE tenant = ? AND recovered_at IS NULL",
                        (self.store.clock(), tenant),
                    )

    def purge(self, recovered_before: float) -> None:
        """Forget alerts that were over before that moment."""
        with self.store.transaction() as run:
            run(
                "DELETE FROM alert_messages WHERE alert IN (SELECT number FROM alerts WHERE recovered_at < ?)",
                (recovered_before,),
            )
            run("DELETE FROM alerts WHERE recovered_at < ?", (recovered_before,))


def due(alert: Alert, channel: str, reminder_seconds: float | None, now: float) -> str | None:
    """Which message the channel has to get now, None when none.

    One that never heard of the beginning does not hear of the end either.
    """
    told = alert.told_to.get(channel, {})
    fired = told.get(FIRED)
    if alert.recovered_at is not None:
        # Who was killed while sending may have sent it.
        killed = fired is not None and fired.claimed_until < now and not fired.trouble
        heard = fired is not None and (fired.sent_at is not None or killed)
        recovered = told.get(RECOVERED)
        return RECOVERED if heard and (recovered is None or recovered.sent_at is None) else None
    if fired is None or fired.sent_at is None:
        return FIRED
    taken = [each.sent_at for each in told.values() if each.sent_at is not None]
    if reminder_seconds is not None and now - max(taken) >= reminder_seconds:
        return f"{_REMINDER}{len(taken)}"
    return None


def is_reminder(what: str) -> bool:
    """Whether the message says again what was said before."""
    return what.startswith(_REMINDER)
