"""Who or what started a run, from its tags."""

from collections.abc import Mapping

STARTED_TAG = "lms_crm/started_by"
"""On a run: who started it, where we started it ourselves, or where a person in the Dagster UI says so in the launchpad."""

SCHEDULE_TAG, DUE_TAG = "lms_crm/schedule", "lms_crm/due"
"""On a scheduled run: by which schedule it runs, and the moment at which its tenant came due."""

_PARENT = "dagster/parent_run_id"
_DAGSTERS = {
    # A proxy before the UI, or whoever launches over its API, may tell the user.
    "user": "ui:",
    "dagster/schedule_name": "schedule:",
    "dagster/sensor_name": "sensor:",
    "dagster/backfill": "ui:backfill ",
    "dagster/from_automation_condition": "automation:",
    "dagster/auto_materialize": "automation:",
}


def started_by(tags: Mapping[str, str]) -> str:
    """How, and who or what: `cli:ann`, `worker`, `schedule:full due …`, `sensor:events`, `ui:ann`; `ui` where nothing tells.

    A run that was started again has the tags of its first time, and says of which run it is the repetition.
    """
    first = _first_started_by(tags)
    return f"{first}, again after run {tags[_PARENT]}" if _PARENT in tags else first


def _first_started_by(tags: Mapping[str, str]) -> str:
    if who := tags.get(STARTED_TAG):
        return who if who == "worker" or who.startswith("cli:") else f"ui:{who}"
    if schedule := tags.get(SCHEDULE_TAG):
        due = tags.get(DUE_TAG)
        return f"schedule:{schedule} due {due}" if due else f"sensor:{schedule}"
    return next((how + tags[tag] for tag, how in _DAGSTERS.items() if tag in tags), "ui")


def is_by_hand(started: str) -> bool:
    """Whether a person started the run of which `started_by` tells this, and looks at what comes of it."""
    return started.startswith(("cli:", "ui"))
