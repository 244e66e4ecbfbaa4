"""Loading by Bulk API 2.0 jobs: what arrives is judged from the org's records, and no step is guessed."""

import threading
import time
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from lms_crm_assets import interrupt
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.salesforce import SalesforceAdapter
from lms_crm_assets.crm.salesforce.bulk import SalesforceBulk
from lms_crm_assets.crm.salesforce.bulk_csv import error_of_row, write_files
from lms_crm_assets.demo.sandbox_process import Sandbox
from lms_crm_assets.domain import Action, CrmObject, CrmWrite, Outcome, OutcomeStatus, Treatment
from lms_crm_assets.errors import FatalError, OutcomeUnknownError, QuotaReachedError
from lms_crm_assets.interrupt import StoppedError
from tests.crm.salesforce.support import adapter, calls, contact, options, spec_of
from tests.sandbox_control import fault, records

CONTACT, COURSE, COMPLETION = spec_of(CrmObject.CONTACT), spec_of(CrmObject.COURSE), spec_of(CrmObject.COMPLETION)
TAKEN = OutcomeStatus.SUCCEEDED


def load(
    crm: SalesforceAdapter, spec: ObjectSpec, writes: Sequence[CrmWrite], jobs: list[str] | None = None
) -> list[Outcome]:
    assert crm.bulk is not None
    return crm.bulk.upsert(spec, writes, (jobs if jobs is not None else []).append)


def held(address: str, kind: str = "Contact", key: str = "LMS_User_Id__c") -> dict[str, dict[str, Any]]:
    """The org's records by key; none may stand twice."""
    found = records(address, kind)
    by_key = {str(each[key]): each for each in found}
    assert len(by_key) == len(found)
    return by_key


def wait_for_records(address: str) -> None:
    """Until a job has written its first ones."""
    until = time.monotonic() + 30
    while not records(address, "Contact"):
        assert time.monotonic() < until


def state(crm: SalesforceAdapter, job: str) -> str:
    return str(crm._org.call(lambda sf: sf.restful(f"jobs/ingest/{job}"))["state"])  # type: ignore[index]


TEXTS = {
    "newlines": "one\ntwo\n\nthree",
    "quotes": "say \"hello\", 'you'",
    "commas": ",a,,b,",
    "unicode": "Zoë 漢字 🎓 \u202eright to left",
    "formula": '=cmd|"/C calc"!A0',
    "empty quotes": '""',
    "na": "#N/A",
    "lower na": "#n/a",
    "null": "null",
    "true": "true",
    "zeros": "007",
    "backslash": "\\n \\",
    "odd lines": "a\u2028b\x0bc\x85d",
}


def test_awkward_texts_arrive_as_they_are(sandbox: Sandbox) -> None:
    writes = [contact(f'key, "{name}"', LMS_Organization__c=text) for name, text in TEXTS.items()]
    with adapter() as crm:
        outcomes = load(crm, CONTACT, writes)
        read = {each.external_id: each for each in crm.read(CONTACT, [write.external_id for write in writes])}

    assert [(o.external_id, o.status) for o in outcomes] == [(write.external_id, TAKEN) for write in writes]
    there = held(sandbox.salesforce)
    assert {key: each["LMS_Organization__c"] for key, each in there.items()} == {
        f'key, "{name}"': text for name, text in TEXTS.items()
    }
    assert {o.external_id: o.crm_id for o in outcomes} == {key: each["Id"] for key, each in there.items()}
    assert {key: each.values["LMS_Organization__c"] for key, each in read.items()} == {
        write.external_id: write.values["LMS_Organization__c"] for write in writes
    }


def test_a_field_is_cleared_left_alone_or_written(sandbox: Sandbox) -> None:
    with adapter() as crm:
        crm.upsert(CONTACT, [contact(key, FirstName="Ada", LMS_Country__c="GB") for key in ("1", "2", "3", "4")])
        writes = [
            CrmWrite("1", None, Action.UPDATE, {"FirstName": None}),
            CrmWrite("2", None, Action.UPDATE, {"FirstName": "Grace"}),
            CrmWrite("3", None, Action.UPDATE, {"LMS_Country__c": "US"}),
            CrmWrite("4", None, Action.UPDATE, {"FirstName": "#N/A", "LMS_Country__c": None}),
        ]
        assert {outcome.status for outcome in load(crm, CONTACT, writes)} == {TAKEN}

    there = held(sandbox.salesforce)
    assert {key: (each["FirstName"], each["LMS_Country__c"]) for key, each in there.items()} == {
        "1": (None, "GB"),
        "2": ("Grace", "GB"),
        "3": ("Ada", "US"),
        "4": ("#N/A", None),
    }


def test_a_surrogate_half_does_not_stop_the_others(sandbox: Sandbox) -> None:
    """JSON can say it, CSV can't; what Salesforce makes of it is its own affair."""
    with adapter() as crm:
        fault(sandbox.salesforce, {"route": "PATCH .*/composite/", "kind": "status", "status": 200, "body": "[7]"})
        with pytest.raises(OutcomeUnknownError):
            load(crm, CONTACT, [contact("1"), contact("2", FirstName="\ud800")])


def test_values_of_all_types_and_parents_arrive(sandbox: Sandbox) -> None:
    with adapter() as crm:
        course = CrmWrite(
            "c1", None, Action.CREATE, {"Name": "C", "Visible__c": "true", "Starts_At__c": "2026-01-31T23:59:59Z"}
        )
        load(crm, COURSE, [course])
        load(crm, CONTACT, [contact("u,1")])
        parents: dict[str, str] = {CrmObject.CONTACT: "u,1", CrmObject.COURSE: "c1"}
        writes = [
            CrmWrite("1", None, Action.CREATE, {"Progress__c": "71.80", "State__c": "in_progress"}, parents),
            CrmWrite("2", None, Action.CREATE, {"State__c": "not_started"}, {}),
            CrmWrite("3", None, Action.CREATE, {}, {CrmObject.CONTACT: "nobody"}),
        ]
        first, second, orphan = load(crm, COMPLETION, writes)

    assert (first.status, second.status) == (TAKEN, TAKEN)
    assert (orphan.status, orphan.code, orphan.treatment) == (OutcomeStatus.FAILED, "INVALID_FIELD", Treatment.HOLD)
    courses, contacts = held(sandbox.salesforce, "LMS_Course__c", "LMS_Course_Id__c"), held(sandbox.salesforce)
    done = held(sandbox.salesforce, "LMS_Completion__c", "LMS_Completion_Id__c")
    assert (courses["c1"]["Visible__c"], courses["c1"]["Starts_At__c"]) == (True, "2026-01-31T23:59:59.000+0000")
    assert (done["1"]["Progress__c"], done["1"]["Course__c"]) == (71.8, courses["c1"]["Id"])
    assert done["1"]["Contact__c"] == contacts["u,1"]["Id"]
    assert (done["2"]["Contact__c"], set(done)) == (None, {"1", "2"})


def test_one_bad_record_of_200_is_rejected_alone_and_as_rest_would(sandbox: Sandbox) -> None:
    bad = contact("77", Email="no, mail: at\nall")
    writes = [bad if n == 77 else contact(str(n), FirstName=f"n{n}") for n in range(200)]
    with adapter() as crm:
        outcomes = load(crm, CONTACT, writes)
        (by_rest,) = crm.upsert(CONTACT, [bad])

    assert [outcome.external_id for outcome in outcomes] == [write.external_id for write in writes]
    assert [o.external_id for o in outcomes if o.status is not TAKEN] == ["77"]
    assert outcomes[77] == by_rest
    assert outcomes[77].treatment is Treatment.REJECT
    assert len(held(sandbox.salesforce)) == 199


def test_rows_that_met_a_lock_are_to_be_sent_again(sandbox: Sandbox) -> None:
    locked = {"object": "Contact", "key_pattern": "^2$", "statusCode": "UNABLE_TO_LOCK_ROW", "message": "unable: to"}
    options(sandbox.salesforce, row_faults=[locked])
    with adapter() as crm:
        first, second = load(crm, CONTACT, [contact("1"), contact("2")])

    assert first.status is TAKEN
    assert (second.status, second.code, second.treatment) == (
        OutcomeStatus.FAILED,
        "UNABLE_TO_LOCK_ROW",
        Treatment.RESEND,
    )


def test_keys_are_matched_as_the_org_spells_them(sandbox: Sandbox) -> None:
    with adapter() as crm:
        outcomes = load(crm, CONTACT, [contact(" Padded "), contact("MiXed")])

    assert [(o.external_id, o.status) for o in outcomes] == [(" Padded ", TAKEN), ("MiXed", TAKEN)]
    assert held(sandbox.salesforce).keys() == {"Padded", "MiXed"}


def test_what_is_too_large_for_one_job_goes_in_several(sandbox: Sandbox) -> None:
    options(sandbox.salesforce, bulk_upload_bytes=2000)
    jobs: list[str] = []
    writes = [contact(str(n), FirstName="é" * 20) for n in range(100)]
    with adapter() as crm:
        bulk = SalesforceBulk(crm._org, 1, crm.upsert, 200, upload_bytes=2000)
        outcomes = bulk.upsert(CONTACT, writes, jobs.append)

    assert [(o.external_id, o.status) for o in outcomes] == [(write.external_id, TAKEN) for write in writes]
    assert 2 < len(jobs) < 6
    assert len(held(sandbox.salesforce)) == 100


def test_the_columns_stand_in_one_order_and_each_file_is_within_bounds(tmp_path: Any) -> None:
    writes = [
        CrmWrite("1", None, Action.CREATE, {"Score__c": "1", "State__c": None}, {CrmObject.COURSE: "c"}),
        CrmWrite("2", None, Action.CREATE, {"State__c": "x"}, {CrmObject.CONTACT: "u"}),
    ]
    files = [(path.read_bytes(), held) for path, held in write_files(COMPLETION, writes, tmp_path, 1)]

    header = b"LMS_Completion_Id__c,State__c,Score__c,Contact__r.LMS_User_Id__c,Course__r.LMS_Course_Id__c\n"
    assert files == [(header + b"1,#N/A,1,,c\n", writes[:1]), (header + b"2,x,,u,\n", writes[1:])]


@pytest.mark.parametrize(
    ("cell", "code", "message"),
    [
        ("STRING_TOO_LONG:First Name: too large: a:b (max length=40):FirstName --", "STRING_TOO_LONG", "First Name: too large: a:b (max length=40)"),
        ("UNABLE_TO_LOCK_ROW:unable to obtain:--", "UNABLE_TO_LOCK_ROW", "unable to obtain"),
        ("UNABLE_TO_LOCK_ROW", "UNABLE_TO_LOCK_ROW", ""),
        ("", "UNKNOWN", ""),
    ],
)  # fmt: skip
def test_a_rows_error_is_code_and_message(cell: str, code: str, message: str) -> None:
    assert error_of_row(cell) == (code, message)


JOB = "/jobs/ingest/[^/]+"


@pytest.mark.parametrize(
    "route",
    ["POST .*/jobs/ingest$", f"PUT .*{JOB}/batches", f"PATCH .*{JOB}$", f"GET .*{JOB}$", f"GET .*{JOB}/successful"],
)
@pytest.mark.parametrize(
    "trouble",
    [
        {"kind": "cut_before"},
        {"kind": "cut_after"},
        {"kind": "status", "status": 503, "body": "<html>maintenance</html>"},
        {"kind": "replace", "status": 200, "body": "<html>\n</html>"},
    ],
    ids=["cut before", "cut after", "unavailable", "garbage"],
)
def test_trouble_that_passes_is_no_trouble_at_any_step(sandbox: Sandbox, route: str, trouble: dict[str, Any]) -> None:
    writes = [contact(str(n), Email="nonsense" if n == 7 else None) for n in range(20)]
    jobs: list[str] = []
    with adapter() as crm:
        fault(sandbox.salesforce, {"route": route, "times": 1} | trouble)
        outcomes = load(crm, CONTACT, writes, jobs)
        ends = {state(crm, job) for job in jobs}

    assert [o.external_id for o in outcomes if o.status is not TAKEN] == ["7"]
    assert len(held(sandbox.salesforce)) == 19
    assert ends <= {"JobComplete", "Aborted"}
    uploads = httpx.get(f"{sandbox.salesforce}/_sandbox/log").json()["calls"]
    uploaded = [call["path"] for call in uploads if call["method"] == "PUT"]
    assert len(uploaded) == len(set(uploaded))


def test_results_that_stay_away_leave_the_outcome_unknown(sandbox: Sandbox) -> None:
    with adapter() as crm:
        fault(sandbox.salesforce, {"route": "/successfulResults", "kind": "status", "status": 503})

        with pytest.raises(OutcomeUnknownError, match="jobs/ingest/"):
            load(crm, CONTACT, [contact("1")])


def test_a_record_that_no_result_tells_of_is_to_be_read_back(sandbox: Sandbox) -> None:
    with adapter() as crm:
        body = '"sf__Id","sf__Created",LMS_User_Id__c,LastName\n"003000000000001AAA","true","1","Doe"\n'
        fault(sandbox.salesforce, {"route": "/successfulResults", "kind": "replace", "status": 200, "body": body})
        first, second = load(crm, CONTACT, [contact("1"), contact("2")])

    assert first.status is TAKEN
    assert (second.status, second.treatment) == (OutcomeStatus.FAILED, Treatment.READ_BACK)


def test_a_session_that_ends_within_a_job_is_no_hindrance(sandbox: Sandbox) -> None:
    options(sandbox.salesforce, token_calls=2)
    with adapter() as crm:
        outcomes = load(crm, CONTACT, [contact(str(n)) for n in range(50)])

    assert {outcome.status for outcome in outcomes} == {TAKEN}
    assert len(held(sandbox.salesforce)) == 50


def test_a_field_that_the_org_lacks_is_for_a_person(sandbox: Sandbox) -> None:
    spec = ObjectSpec(
        CONTACT.object, CONTACT.to, CONTACT.match_key, {**CONTACT.fields, "Foo__c": CONTACT.fields["FirstName"]}, {}
    )
    with adapter() as crm, pytest.raises(FatalError, match=r"Foo__c.*objects\.contact"):
        load(crm, spec, [contact("1", Foo__c="x")])

    assert held(sandbox.salesforce) == {}


def test_the_days_batches_are_a_quota(sandbox: Sandbox) -> None:
    options(sandbox.salesforce, bulk_batches_a_day=0)
    with adapter() as crm, pytest.raises(QuotaReachedError):
        load(crm, CONTACT, [contact("1")])


class KilledError(BaseException):
    """Stands for the end of the process."""


def opened_and_killed(crm: SalesforceAdapter, monkeypatch: pytest.MonkeyPatch, *, at: str) -> str:
    """Start a job of three internal batches and die; gives its id."""
    jobs: list[str] = []

    def die(*_: Any, **__: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        # A process that is killed aborts nothing.
        patched.setattr(SalesforceBulk, "_abort", lambda *_: None)
        if at == "open":
            patched.setattr(SalesforceBulk, "_close", die)
        else:
            patched.setattr("lms_crm_assets.crm.salesforce.bulk.ended", die)
        with pytest.raises(KilledError):
            load(crm, CONTACT, [contact(str(n)) for n in range(30)], jobs)
    return jobs[0]


@pytest.mark.parametrize("at", ["open", "running"])
def test_a_job_of_a_killed_run_is_settled(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    options(sandbox.salesforce, bulk_batch_rows=10, bulk_batch_seconds=0.5)
    with adapter() as crm:
        job = opened_and_killed(crm, monkeypatch, at=at)
    with adapter() as crm:
        assert crm.bulk is not None
        crm.bulk.settle(job)
        written = len(records(sandbox.salesforce, "Contact"))
        ended = state(crm, job)
        crm.bulk.settle(job)

        load(crm, CONTACT, [contact("later")])

    assert ended == "Aborted"
    assert written < 30
    assert len(records(sandbox.salesforce, "Contact")) == written + 1


def test_jobs_that_are_done_or_unknown_are_settled(sandbox: Sandbox) -> None:  # noqa: ARG001 - environment
    jobs: list[str] = []
    with adapter() as crm:
        assert crm.bulk is not None
        load(crm, CONTACT, [contact("1")], jobs)
        for job in (jobs[0], "7500000000000ZZAAA", "../../limits", ""):
            crm.bulk.settle(job)

        assert state(crm, jobs[0]) == "JobComplete"


def test_what_a_person_aborts_is_told_record_by_record(sandbox: Sandbox) -> None:
    options(sandbox.salesforce, bulk_batch_rows=10, bulk_batch_seconds=0.5)
    found: list[Outcome] = []
    jobs: list[str] = []
    writes = [contact(str(n), FirstName="two\nlines, n") for n in range(40)]
    with adapter() as crm, adapter() as person:
        loading = threading.Thread(target=lambda: found.extend(load(crm, CONTACT, writes, jobs)))
        loading.start()
        wait_for_records(sandbox.salesforce)
        assert person.bulk is not None
        person.bulk.settle(jobs[0])
        loading.join()

    taken = {outcome.external_id for outcome in found if outcome.status is TAKEN}
    assert taken == held(sandbox.salesforce).keys()
    assert 0 < len(taken) < 40
    left = {(o.status, o.code, o.treatment) for o in found if o.external_id not in taken}
    assert left == {(OutcomeStatus.FAILED, "UNPROCESSED", Treatment.RETRY)}
    assert len(found) == 40


def test_a_persons_wish_to_stop_ends_the_job(sandbox: Sandbox) -> None:
    options(sandbox.salesforce, bulk_batch_rows=10, bulk_batch_seconds=0.3)
    jobs: list[str] = []
    caught: list[BaseException] = []

    def loading() -> None:
        try:
            load(crm, CONTACT, [contact(str(n)) for n in range(1000)], jobs)
        except StoppedError as exc:
            caught.append(exc)

    with adapter() as crm:
        thread = threading.Thread(target=loading)
        thread.start()
        wait_for_records(sandbox.salesforce)
        interrupt.requested.set()
        try:
            thread.join()
        finally:
            interrupt.requested.clear()
        assert len(caught) == 1
        assert state(crm, jobs[0]) == "Aborted"

    assert calls(sandbox.salesforce, "/jobs/ingest") == {"200": 1}
