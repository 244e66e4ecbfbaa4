"""A row changes, the LMS sends its event, and what the event's keys fetch is the changed row."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.hints import Hints
from lms_crm_assets.lms.protocol import LmsAdapter
from tests.hints import tenant
from tests.hints.test_canvas import IN_COURSE, at
from tests.hints.test_canvas import event as canvas_event
from tests.hints.test_moodle import FIVE, SITE, statement
from tests.hints.test_moodle import event as moodle_event
from tests.hints.test_others import changed
from tests.hints.test_others import event as thinkific_event
from tests.lms.contract.conftest import Lms
from tests.lms.contract.protocols import CANVAS, CHANGES, ONEROSTER, THINKIFIC
from tests.lms.moodle.site import Door
from tests.lms.moodle.site import adapter as moodle_adapter
from tests.lms.pulls import Rows, by_key

LEARNERS, COURSES, ENROLLMENTS, COMPLETIONS, SCORES, COMPETENCIES = LmsEntity
EDITS: dict[LmsEntity, dict[str, Any]] = {
    LEARNERS: {"given_name": "Renamed"},
    COURSES: {"title": "Retitled"},
    ENROLLMENTS: {"status": "suspended"},
    COMPLETIONS: {"state": "in_progress", "progress_pct": 33},
    SCORES: {"raw": 12.5},
    COMPETENCIES: {"proficient": None},
}


def of_changes(entity: LmsEntity, key: str, _: Any) -> Iterable[Any]:
    return [changed(f"{entity}.updated", entity=entity, id=key)]


def of_canvas(entity: LmsEntity, _: str, row: Any) -> Iterable[Any]:
    """The events of a row, with global ids, as Canvas sends most of them."""
    in_course = {**IN_COURSE, "context_id": at(row.get("course_id") or 0)} if "course_id" in row else {}
    match entity:
        case "learners":
            return [canvas_event("user_updated", {"user_id": at(row["id"])})]
        case "courses":
            return [canvas_event("course_updated", {"course_id": at(row["id"])})]
        case "enrollments":
            ids = {"enrollment_id": at(row["id"]), "user_id": at(row["user_id"]), "course_id": at(row["course_id"])}
            return [canvas_event("enrollment_updated", {**ids, "type": row["type"]})]
        case "completions":
            body = {"user": {"id": str(row["user_id"])}, "course": {"id": str(row["course_id"])}}
            return [canvas_event("course_progress", body)]
        case "scores":
            who = {"user_id": at(int(row["user_id"])), "assignment_id": at(row.get("assignment_id") or 1)}
            in_course["context_id"] = at(int(row["course_id"]))
            return [canvas_event("grade_change", who, **in_course)]
    context = {"result_context_type": "Course", "result_context_id": str(row["course_id"])}
    return [canvas_event("learning_outcome_result_updated", {"id": str(row["id"]), **context, "user_uuid": "x"})]


def of_thinkific(entity: LmsEntity, _: str, row: Any) -> Iterable[Any]:
    resource = {LEARNERS: "user", COURSES: "course"}.get(entity, "enrollment")
    return [thinkific_event(resource, "updated", id=row["id"])]


SENT: dict[str, Callable[[LmsEntity, str, Any], Iterable[Any]]] = {
    "changes": of_changes,
    "canvas": of_canvas,
    "oneroster": of_changes,
    "thinkific": of_thinkific,
}


def fetched(adapter: LmsAdapter, hints: Hints) -> Rows:
    """What the keys of the hints fetch."""
    assert hints.unknown == ()
    asked: dict[LmsEntity, list[str]] = {}
    for entity, key in hints.lms:
        asked.setdefault(entity, []).append(key)
    return by_key(page for entity, keys in asked.items() for page in adapter.fetch(entity, keys))


def differing(before: Rows, after: Rows) -> list[tuple[LmsEntity, str, RawRecord]]:
    """The rows that are other ones than before, and as deleted those that are gone."""
    found = []
    for entity in LmsEntity:
        old, new = before.get(entity, {}), after.get(entity, {})
        found += [(entity, key, row) for key, row in new.items() if old.get(key) != row]
        found += [(entity, key, RawRecord(key, row.payload, is_deleted=True)) for key, row in old.items() if key not in new]  # fmt: skip
    return found


def row_of(lms: Lms, entity: LmsEntity) -> Any:
    """A row of the school that the LMS shows, and that isn't as the edit would make it."""
    fields = EDITS.get(entity, {})
    people = {row["id"] for row in lms.simulator.records(LEARNERS) if row["status"] == "active"}
    there = {
        (row["learner_id"], row["course_id"])
        for row in lms.simulator.records(ENROLLMENTS)
        if row["status"] in {"active", "completed"} and row["learner_id"] in people
    }
    for row in lms.simulator.records(entity):
        if entity is LEARNERS:
            shown = row["id"] in people
        else:
            shown = entity is COURSES or (row["learner_id"], row["course_id"]) in there
        if shown and not fields.items() <= row.items():
            return row
    return pytest.fail(f"no {entity} to edit")


@pytest.mark.parametrize("lms", [CHANGES, CANVAS, ONEROSTER, THINKIFIC], indirect=True, ids=list(SENT))
def test_what_an_event_touches_is_fetched_as_it_is_now(lms: Lms) -> None:
    source = tenant.SOURCES[lms.protocol.name]
    adapter = lms.adapter()
    before = by_key(adapter.pull(list(LmsEntity), None))
    seen = set()
    for entity, fields in EDITS.items():
        if entity not in adapter.capabilities.entities:
            continue
        row = row_of(lms, entity)
        values = {**fields, "proficient": not row["proficient"]} if entity is COMPETENCIES else fields
        lms.simulator.mutate({"object": entity, "op": "update", "id": row["id"], "fields": values})
        after = by_key(adapter.pull(list(LmsEntity), None))
        for of, key, now in differing(before, after):
            for body in SENT[lms.protocol.name](of, key, now.payload):
                assert fetched(adapter, tenant.from_lms(source, body))[of][key] == now
            seen.add(of)
        before = after

    assert seen == adapter.capabilities.entities


@pytest.mark.parametrize("lms", [CHANGES, CANVAS, ONEROSTER, THINKIFIC], indirect=True, ids=list(SENT))
def test_what_is_deleted_is_fetched_as_deleted(lms: Lms) -> None:
    source = tenant.SOURCES[lms.protocol.name]
    adapter = lms.adapter()
    before = by_key(adapter.pull(list(LmsEntity), None))
    for entity in (ENROLLMENTS, LEARNERS):
        row = row_of(lms, entity)
        lms.simulator.mutate({"object": entity, "op": "delete", "id": row["id"]})
    after = by_key(adapter.pull(list(LmsEntity), None))
    changes = [each for each in differing(before, after) if each[0] in {ENROLLMENTS, LEARNERS}]

    assert {of for of, _, _ in changes} == {ENROLLMENTS, LEARNERS}
    for of, key, now in changes:
        for body in SENT[lms.protocol.name](of, key, now.payload):
            found = fetched(adapter, tenant.from_lms(source, body))[of][key]
            assert found.is_deleted == now.is_deleted
            assert found.is_deleted or found == now


MEMBER = {"relateduserid": "5", "courseid": 2}
IN_GS101 = {"id": f"{SITE}/course/view.php?id=2"}
OF_MEMBER = {ENROLLMENTS, COMPLETIONS, SCORES}
MOODLE_EDITS: list[tuple[dict[str, Any], Any, set[LmsEntity]]] = [
    ({"object": "users", "key": 5, "fields": {"firstname": "Renamed"}}, moodle_event("user_updated", objectid="5"), {LEARNERS}),
    ({"object": "courses", "key": 2, "fields": {"fullname": "Retitled"}}, moodle_event("course_updated", objectid=2), {COURSES}),
    ({"object": "enrolments", "key": "5:2", "fields": {"Grade": "41.50"}}, moodle_event("user_graded", **MEMBER), {SCORES}),
    ({"object": "enrolments", "key": "5:2", "fields": {"Completed": "No", "Student progress": "20.0%"}}, moodle_event("course_completed", **MEMBER), {COMPLETIONS}),
    ({"object": "enrolments", "key": "5:2", "fields": {"Completed": "Yes", "Student progress": "100.0%"}}, statement("course_completed", FIVE, IN_GS101), {COMPLETIONS}),
    ({"object": "enrolments", "key": "5:2", "fields": {"Status": "Suspended"}}, moodle_event("user_enrolment_updated", **MEMBER), OF_MEMBER),
    ({"object": "enrolments", "key": "5:2", "op": "delete"}, moodle_event("user_enrolment_deleted", **MEMBER), OF_MEMBER),
    ({"object": "users", "key": 5, "op": "delete"}, moodle_event("user_deleted", objectid="5"), {LEARNERS}),
]  # fmt: skip


@pytest.mark.parametrize("reports", [None, {"participants": 1, "users": 2, "competencies": 3}])
def test_what_an_event_of_moodle_touches_is_fetched_as_it_is_now(door: Door, reports: Any) -> None:
    source = tenant.MOODLE if reports is None else tenant.BY_REPORT
    with moodle_adapter(door, reports=reports) as adapter:
        for edit, body, entities in MOODLE_EDITS:
            hints = tenant.from_lms(source, body)
            before = fetched(adapter, hints)
            door.mutate(**{"op": "update", **edit})
            found = fetched(adapter, hints)

            assert found.keys() == entities
            assert all(found[entity] != before[entity] for entity in entities), edit
            if edit.get("op") == "delete":
                assert all(found[entity][key].is_deleted for entity, key in hints.lms)
            elif edit["object"] in {"users", "courses"}:
                [row] = [row.payload for rows in found.values() for row in rows.values()]
                assert edit["fields"].items() <= row.items()


def test_a_rating_in_moodle_s_report_is_fetched(door: Door) -> None:
    told = moodle_event("competency_user_competency_rated", relateduserid=5, courseid=0, other={"competencyid": 1})
    hints = tenant.from_lms(tenant.BY_REPORT, told)
    with moodle_adapter(door) as adapter:
        before = fetched(adapter, hints)[COMPETENCIES]
        door.mutate(object="competencies", op="update", key="5:CE-1", fields={"rating": "Not yet competent"})
        after = fetched(adapter, hints)[COMPETENCIES]

    # The event's id names none of a report's ratings, and that is nothing that would be gone.
    assert not any(record.is_deleted for record in after.values())
    [changed_key] = [key for key in after if after[key] != before[key]]
    assert changed_key.startswith("learner0001:")
    assert after[changed_key].payload["columns"][-1] == "Not yet competent"
