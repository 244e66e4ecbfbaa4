"""The processes that should be at work: Dagster's daemon, who takes the events, the receiver."""

from collections.abc import Iterator, Mapping

import httpx

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.doctor.verdict import Verdict, fail, ok, warn
from lms_crm_assets.ops.heartbeat import EVENTS_SENSOR, EVENTS_WORKER, is_alive
from lms_crm_assets.ops.store import OperationalStore

_TIMEOUT_SECONDS = 5.0
_LOCAL_RECEIVER = "http://127.0.0.1:8080"


def daemons(healthy: Mapping[str, bool] | None) -> Verdict:
    """Dagster's daemons by name; None where Dagster never ran with this home."""
    start = "DAGSTER_HOME=$PWD dagster dev -w workspace.yaml, or dagster-daemon run"
    if healthy is None or not any(healthy.values()):
        return warn("daemon", "Dagster's daemon does not run: nothing happens by itself", start)
    if ill := sorted(name for name, well in healthy.items() if not well):
        return warn(
            "daemon", f"Dagster's daemon runs without {', '.join(ill)}", f"look at its log, and start it anew: {start}"
        )
    return ok("daemon", "Dagster's daemon runs")


def event_takers(contract: Contract, store: OperationalStore) -> Iterator[Verdict]:
    """Whether somebody works on what is delivered, and the receiver takes deliveries."""
    if not contract.has_inbox:
        return
    if is_alive(store, EVENTS_WORKER):
        yield ok("worker", "lms-crm worker is at work")
    elif is_alive(store, EVENTS_SENSOR):
        yield ok("worker", "the sensor waiting_events is at work; lms-crm worker is quicker")
    else:
        yield warn("worker", "nobody takes the events that are delivered", "start lms-crm worker, or Dagster's daemon")
    yield _receiver(contract.webhooks.public_url)


def _receiver(public_url: str | None) -> Verdict:
    base = public_url or _LOCAL_RECEIVER
    try:
        status = httpx.get(f"{base}/readyz", timeout=_TIMEOUT_SECONDS, trust_env=False).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        said, remedy = f"nothing answers at {base} ({type(exc).__name__})", "lms-crm receiver (docs/receiver.md)"
        if public_url is None:
            return warn("receiver", said, f"{remedy}; where it runs elsewhere set webhooks.public_url")
        return fail("receiver", said, f"{remedy}; check webhooks.public_url and the proxy before it")
    if status == httpx.codes.OK:
        return ok("receiver", f"{base} takes deliveries")
    return fail(
        "receiver",
        f"{base}/readyz answers {status}",
        "its log says why; the key, and room on the disk (docs/receiver.md)",
    )
