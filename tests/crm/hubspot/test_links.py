"""Associations, judged by the links that the portal holds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import httpx
import pytest

from lms_crm_assets.crm.hubspot import HubSpotAdapter
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import Action, CrmObject, CrmWrite, Link, Outcome, OutcomeStatus, Treatment
from lms_crm_assets.errors import BatchRefusedError, FatalError
from tests.crm.hubspot.portal import UNLIMITED, adapter, contacts, globex, keys_of, reset, spec_of
from tests.sandbox_control import fault, mutate, records, requests

CONTACT, ENROLLMENT = spec_of(CrmObject.CONTACT), spec_of(CrmObject.ENROLLMENT)
VERSIONS = pytest.mark.parametrize("version", ["v3", "2026-03", "2026-09"])


def enrollments(crm: HubSpotAdapter, number: int) -> list[Link]:
    """So many enrollments and contacts, not linked yet."""
    links = []
    for start in range(0, number, 100):
        keys = [str(n) for n in range(start, min(start + 100, number))]
        ends = crm.upsert(CONTACT, contacts(keys))
        starts = crm.upsert(ENROLLMENT, [CrmWrite(key, None, Action.CREATE, {"lms_role": "student"}) for key in keys])
        links += [
            Link(key, key, str(start.crm_id), str(end.crm_id))
            for key, start, end in zip(keys, starts, ends, strict=True)
        ]
    return links


def linked(sandbox: Sandbox) -> dict[str, list[str]]:
    """Enrollment → contacts, by CRM id, as the portal holds them."""
    found = keys_of(records(sandbox.hubspot, "lms_enrollment"), "lms_enrollment_id")
    return {record["id"]: record["associations"]["contacts"] for record in found.values()}


def link(crm: HubSpotAdapter, links: Sequence[Link], *, away: bool = False) -> list[Outcome]:
    assert crm.linker is not None
    make = crm.linker.unlink if away else crm.linker.link
    return make(ENROLLMENT, CrmObject.CONTACT, links)


def association_calls(sandbox: Sandbox) -> Mapping[str, dict[str, int]]:
    return {
        route.rpartition("/batch/")[2]: told for route, told in requests(sandbox.hubspot).items() if "associat" in route
    }


@VERSIONS
def test_links_are_made_once_read_and_taken_away(sandbox: Sandbox, version: str) -> None:
    with adapter(globex(api_version=version)) as crm:
        links = enrollments(crm, 3)
        made = link(crm, links[:2])
        again = link(crm, links)
        (page,) = crm.snapshot(ENROLLMENT)
        read = crm.read(ENROLLMENT, ["0", "1", "2"])
        assert linked(sandbox) == {one.from_crm_id: [one.to_crm_id] for one in links}
        gone = link(crm, links[:1], away=True)

    assert [(o.external_id, o.status) for o in made] == [("0", OutcomeStatus.SUCCEEDED), ("1", OutcomeStatus.SUCCEEDED)]
    assert {o.status for o in (*again, *gone)} == {OutcomeStatus.SUCCEEDED}
    expected = {one.external_id: [one.to_crm_id] for one in links}
    assert {r.external_id: r.parents[CrmObject.CONTACT] for r in page} == expected
    assert {r.external_id: r.parents[CrmObject.CONTACT] for r in read} == expected
    assert linked(sandbox)[links[0].from_crm_id] == []
    assert linked(sandbox)[links[1].from_crm_id] == [links[1].to_crm_id]


def test_what_is_linked_already_is_not_sent_again(sandbox: Sandbox) -> None:
    with adapter(globex()) as crm:
        links = enrollments(crm, 2)
        link(crm, links)
        before = association_calls(sandbox)["associate/default"]
        link(crm, links)

    assert before == association_calls(sandbox)["associate/default"] == {"200": 1}


def test_each_link_has_an_outcome_of_its_own(sandbox: Sandbox) -> None:
    with adapter(globex()) as crm:
        links = enrollments(crm, 3)
        mutate(sandbox.hubspot, object="contacts", op="archive", id=links[1].to_crm_id)
        outcomes = link(crm, links)

    assert [outcome.status for outcome in outcomes] == [
        OutcomeStatus.SUCCEEDED,
        OutcomeStatus.REJECTED,
        OutcomeStatus.SUCCEEDED,
    ]
    assert (outcomes[1].code, outcomes[1].treatment) == ("VALIDATION_ERROR", Treatment.REJECT)
    assert linked(sandbox)[links[1].from_crm_id] == []


def test_a_batch_in_which_no_link_can_be_is_refused_as_a_whole(sandbox: Sandbox) -> None:
    with adapter(globex()) as crm:
        links = enrollments(crm, 1)
        mutate(sandbox.hubspot, object="contacts", op="archive", id=links[0].to_crm_id)
        with pytest.raises(BatchRefusedError):
            link(crm, links)


def test_a_link_that_nobody_names_is_unknown(sandbox: Sandbox) -> None:
    with adapter(globex()) as crm:
        links = enrollments(crm, 2)
        error = {"status": "error", "category": "VALIDATION_ERROR", "message": "no", "context": {}}
        body = json.dumps({"status": "COMPLETE", "results": [], "errors": [error]})
        fault(sandbox.hubspot, {"route": "associate/default", "kind": "replace", "status": 207, "body": body})
        outcomes = link(crm, links)

    assert {(o.status, o.code, o.treatment) for o in outcomes} == {
        (OutcomeStatus.FAILED, "NO_RESULT", Treatment.READ_BACK)
    }


def test_links_that_were_not_taken_away_are_found_by_looking(sandbox: Sandbox) -> None:
    with adapter(globex()) as crm:
        links = enrollments(crm, 2)
        link(crm, links[:1])
        error = {"status": "error", "category": "INTERNAL_ERROR", "message": "no", "context": {}}
        fault(
            sandbox.hubspot,
            {"route": "archive", "kind": "status", "status": 207, "body": json.dumps({"errors": [error]})},
        )
        kept, gone = link(crm, links, away=True)

    assert (kept.status, kept.treatment) == (OutcomeStatus.FAILED, Treatment.READ_BACK)
    assert gone.status is OutcomeStatus.SUCCEEDED


def test_more_than_a_thousand_links_are_read_in_parts(sandbox: Sandbox) -> None:
    reset(sandbox.hubspot, **UNLIMITED)
    with adapter(globex(calls=10_000)) as crm:
        links = enrollments(crm, 1_100)
        outcomes = link(crm, links)

    assert {outcome.status for outcome in outcomes} == {OutcomeStatus.SUCCEEDED}
    assert sum(len(found) for found in linked(sandbox).values()) == 1_100
    assert association_calls(sandbox) == {"read": {"207": 2}, "associate/default": {"200": 1}}


def test_a_record_with_very_many_links_is_read_to_the_end(sandbox: Sandbox) -> None:
    reset(sandbox.hubspot, **UNLIMITED)
    with adapter(globex(calls=10_000)) as crm:
        links = enrollments(crm, 600)
        child = links[0].from_crm_id
        link(crm, [Link(one.external_id, one.parent_id, child, one.to_crm_id) for one in links])
        (read,) = crm.read(ENROLLMENT, ["0"])
        (listed,) = (record for page in crm.snapshot(ENROLLMENT) for record in page if record.external_id == "0")

    for record in (read, listed):
        assert set(record.parents[CrmObject.CONTACT]) == {one.to_crm_id for one in links}


def test_a_label_is_a_link_of_its_own(sandbox: Sandbox) -> None:
    headers = {"Authorization": "Bearer pat-sandbox"}
    path = f"{sandbox.hubspot}/crm/v4/associations/p_lms_enrollment/contacts/labels"
    httpx.post(path, headers=headers, json={"name": "tutor", "label": "Tutor"}).raise_for_status()
    labelled = replace(ENROLLMENT.parents[CrmObject.CONTACT], relation="Tutor")
    spec = replace(ENROLLMENT, parents={**ENROLLMENT.parents, CrmObject.CONTACT: labelled})
    with adapter(globex()) as crm:
        assert crm.linker is not None
        links = enrollments(crm, 1)
        link(crm, links)  # by the default type: the label is missing still
        outcomes = [crm.linker.link(spec, CrmObject.CONTACT, links) for _ in range(2)]
        types = crm._links.linked(ENROLLMENT.to, "contacts", [links[0].from_crm_id])

    assert {o.status for made in outcomes for o in made} == {OutcomeStatus.SUCCEEDED}
    assert len(types[links[0].from_crm_id][links[0].to_crm_id]) == 2
    assert association_calls(sandbox)["create"] == {"201": 1}


def test_a_label_that_the_portal_does_not_know_is_for_a_person(sandbox: Sandbox) -> None:  # noqa: ARG001 - environment
    unknown = replace(ENROLLMENT.parents[CrmObject.CONTACT], relation="Nobody")
    spec = replace(ENROLLMENT, parents={CrmObject.CONTACT: unknown})
    with adapter(globex()) as crm:
        linker = crm.linker
        assert linker is not None
        with pytest.raises(FatalError, match="no association label 'Nobody'"):
            linker.link(spec, CrmObject.CONTACT, [Link("1", "1", "1", "2")])
