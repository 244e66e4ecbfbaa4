"""The oracle against a running sandbox, and its rules and its comparison on rows made by hand."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import pytest

from lms_crm_assets.demo.proof import Expected, ObjectProof, agrees, compare, prove_acme, prove_globex
from lms_crm_assets.demo.proof_crm import Held
from lms_crm_assets.demo.proof_moodle import rows_of
from lms_crm_assets.demo.proof_school import ValidRow, records, valid_rows
from lms_crm_assets.demo.sandbox_process import Sandbox, running_sandbox

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DATA = "/services/data/v68.0"
HUBSPOT_AUTH = {"Authorization": "Bearer pat-sandbox"}

# Of the recorded site: learner 5 in the course 2, as `report_participants_p0_500` and the user list show them.
ANN = {
    "LMS_User_Id__c": "5",
    "Email": "learner0001@globex.test",
    "LMS_Username__c": "learner0001",
    "LMS_Organization__c": "globex.test",
    "LMS_Status__c": "active",
}
STARTED = {
    "LMS_Course_Id__c": "2",
    "Name": "Getting started",
    "Code__c": "GS101",
    "Starts_At__c": "2026-07-26T22:50:26Z",
}
PARENTS = {"Contact__r": {"LMS_User_Id__c": "5"}, "Course__r": {"LMS_Course_Id__c": "2"}}
ENROLLED = {
    "LMS_Enrollment_Id__c": "5:2",
    "Role__c": "student",
    "Status__c": "active",
    "Enrolled_At__c": "2026-11-23T22:50:00Z",
    # 11:50 PM in London, where the clocks are an hour ahead until 25 October.
    "Starts_At__c": "2026-10-22T22:50:00Z",
    **PARENTS,
}
COMPLETED = {
    "LMS_Completion_Id__c": "5:2",
    "State__c": "completed",
    "Progress__c": 100,
    "Completed_At__c": "2026-11-22T22:50:00Z",
    "Score__c": 71.8,
    **PARENTS,
}
RATED = {
    "LMS_Competency_Id__c": "5:CE-1",
    "Code__c": "CE-1",
    "Competency_Name__c": "API basics",
    "Framework__c": "CE-FW",
    "Rating__c": "Competent",
    "Proficient__c": True,
    "Contact__r": {"LMS_User_Id__c": "5"},
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox(["--learners", "200", "--courses", "4", "--enrollments", "300"]) as found:
        yield found


@pytest.fixture(autouse=True)
def _initial(sandbox: Sandbox) -> None:
    for url in (sandbox.moodle, sandbox.school, sandbox.salesforce, sandbox.hubspot):
        httpx.post(f"{url}/_sandbox/reset").raise_for_status()


def mutate(url: str, **change: Any) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.post(f"{url}/_sandbox/mutate", json=change).raise_for_status().json()
    return answer


class Salesforce:
    """Writes to Salesforce as a client does: upserts by match key, parents by theirs."""

    def __init__(self, url: str) -> None:
        self._url = url
        form = {
            "grant_type": "client_credentials",
            "client_id": "sandbox-client",
            "client_secret": "sandbox-secret",
        }
        token = httpx.post(f"{url}/services/oauth2/token", data=form).raise_for_status().json()["access_token"]
        self._headers = {"Authorization": f"Bearer {token}"}

    def upsert(self, sobject: str, key: str, *rows: dict[str, Any]) -> None:
        body = {"allOrNone": True, "records": [{"attributes": {"type": sobject}, **row} for row in rows]}
        url = f"{self._url}{DATA}/composite/sobjects/{sobject}/{key}"
        results = httpx.patch(url, json=body, headers=self._headers).raise_for_status().json()
        assert all(result["success"] for result in results), results


@pytest.fixture
def salesforce(sandbox: Sandbox) -> Salesforce:
    """With the records of learner 5, learner 6 and the courses 2 and 3."""
    user = next(row for row in records(sandbox.moodle, "users") if row["id"] == 5)
    written = Salesforce(sandbox.salesforce)
    names = {"FirstName": user["firstname"], "LastName": user["lastname"], "LMS_Country__c": user["country"]}
    chloe = {"LMS_User_Id__c": "6", "FirstName": "Chloé", "LastName": "O'Neil-2", "Email": "learner0002@initech.test"}
    chloe |= {"LMS_Username__c": "learner0002", "LMS_Organization__c": "initech.test"}
    chloe |= {"LMS_Country__c": "FR", "LMS_Status__c": "active"}
    admin = {"LMS_Course_Id__c": "3", "Name": "Admin certification", "Code__c": "ADM201"}
    admin |= {"Starts_At__c": "2026-07-26T22:50:26Z"}
    written.upsert("Contact", "LMS_User_Id__c", ANN | names, chloe)
    written.upsert("LMS_Course__c", "LMS_Course_Id__c", STARTED, admin)
    written.upsert("LMS_Enrollment__c", "LMS_Enrollment_Id__c", ENROLLED)
    written.upsert("LMS_Completion__c", "LMS_Completion_Id__c", COMPLETED)
    written.upsert("LMS_Competency__c", "LMS_Competency_Id__c", RATED)
    return written


def acme(sandbox: Sandbox, *, created_by_us: bool = False) -> dict[str, ObjectProof]:
    return prove_acme(sandbox.moodle, sandbox.salesforce, created_by_us=created_by_us, now=NOW)


def counts(proofs: dict[str, ObjectProof]) -> dict[str, tuple[int, int, int, int]]:
    return {kind: (one.in_lms, one.expected, one.held, len(one.missing)) for kind, one in proofs.items()}


def differences(proofs: dict[str, ObjectProof]) -> dict[str, dict[str, list[str]]]:
    return {kind: one.differing for kind, one in proofs.items() if one.differing}


def test_an_empty_salesforce_lacks_everything(sandbox: Sandbox) -> None:
    proofs = acme(sandbox)
    assert counts(proofs) == {
        "contact": (203, 202, 0, 202),
        "course": (5, 5, 0, 5),
        "enrollment": (456, 456, 0, 456),
        "completion": (456, 456, 0, 456),
        "competency": (374, 374, 0, 374),
    }
    assert not agrees(proofs)


def test_an_empty_hubspot_lacks_everything_valid(sandbox: Sandbox) -> None:
    proofs = prove_globex(sandbox.school, sandbox.hubspot)
    for entity, kind in (("learners", "contact"), ("courses", "course"), ("completions", "completion")):
        assert proofs[kind].in_lms == len(records(sandbox.school, entity))
    # Of 200 learners 1 is a tombstone, 2 are without an address, 1 has a malformed one, 1 was deleted as Moodle does it.
    assert counts(proofs)["contact"] == (199, 195, 0, 195)
    assert all(one.expected == len(one.missing) and one.held == 0 for one in proofs.values())
    assert not agrees(proofs)


@pytest.mark.usefixtures("salesforce")
def test_records_written_as_they_should_be_agree(sandbox: Sandbox) -> None:
    proofs = acme(sandbox, created_by_us=True)
    assert {kind: (one.held, one.expected - len(one.missing)) for kind, one in proofs.items()} == {
        "contact": (2, 2),
        "course": (2, 2),
        "enrollment": (1, 1),
        "completion": (1, 1),
        "competency": (1, 1),
    }
    assert not differences(proofs)
    assert not any(one.surplus for one in proofs.values())


@pytest.mark.usefixtures("salesforce")
def test_a_wrong_value_in_salesforce_is_named(sandbox: Sandbox) -> None:
    def plant(sobject: str, key_field: str, key: str, **fields: Any) -> None:
        change = {"object": sobject, "op": "update", "key_field": key_field, "key": key, "fields": fields}
        mutate(sandbox.salesforce, **change)

    plant("Contact", "LMS_User_Id__c", "5", FirstName="Somebody", LMS_Status__c=None)
    plant("LMS_Course__c", "LMS_Course_Id__c", "3", Starts_At__c="2026-07-26T22:50:27Z")
    plant("LMS_Completion__c", "LMS_Completion_Id__c", "5:2", Score__c=71.80001)
    plant("LMS_Competency__c", "LMS_Competency_Id__c", "5:CE-1", Proficient__c=False)
    assert differences(acme(sandbox)) == {
        "contact": {"5": ["FirstName", "LMS_Status__c"]},
        "course": {"3": ["Starts_At__c"]},
        "completion": {"5:2": ["Score__c"]},
        "competency": {"5:CE-1": ["Proficient__c"]},
    }


def test_a_value_where_the_lms_has_none_counts_only_when_all_records_are_ours(
    sandbox: Sandbox, salesforce: Salesforce
) -> None:
    salesforce.upsert("LMS_Course__c", "LMS_Course_Id__c", STARTED | {"Ends_At__c": "1970-01-01T00:00:00Z"})
    assert not differences(acme(sandbox))
    assert differences(acme(sandbox, created_by_us=True)) == {"course": {"2": ["Ends_At__c"]}}


@pytest.mark.usefixtures("salesforce")
def test_a_deleted_record_is_missing_and_its_links_are_gone(sandbox: Sandbox) -> None:
    assert "5" not in acme(sandbox)["contact"].missing
    mutate(sandbox.salesforce, object="Contact", op="delete", key_field="LMS_User_Id__c", key="5")
    proofs = acme(sandbox)
    assert "5" in proofs["contact"].missing
    assert proofs["contact"].held == 1
    assert differences(proofs) == {
        "enrollment": {"5:2": ["Contact__c"]},
        "completion": {"5:2": ["Contact__c"]},
        "competency": {"5:CE-1": ["Contact__c"]},
    }


def test_a_record_that_no_valid_row_stands_for_is_surplus(sandbox: Sandbox, salesforce: Salesforce) -> None:
    # The guest's address is root@localhost.
    salesforce.upsert("Contact", "LMS_User_Id__c", {"LMS_User_Id__c": "1", "LastName": "Guest user"})
    mutate(sandbox.salesforce, object="Contact", op="create", fields={"LastName": "Not ours"})
    proofs = acme(sandbox)
    assert proofs["contact"].surplus == ["1"]
    assert proofs["contact"].held == 3


def test_a_link_to_another_record_is_named(sandbox: Sandbox, salesforce: Salesforce) -> None:
    wrong = {"Contact__r": {"LMS_User_Id__c": "6"}, "Course__r": {"LMS_Course_Id__c": "3"}}
    salesforce.upsert("LMS_Enrollment__c", "LMS_Enrollment_Id__c", ENROLLED | wrong)
    salesforce.upsert("LMS_Competency__c", "LMS_Competency_Id__c", RATED | {"Course__r": {"LMS_Course_Id__c": "2"}})
    assert differences(acme(sandbox)) == {
        "enrollment": {"5:2": ["Contact__c", "Course__c"]},
        "competency": {"5:CE-1": ["Course__c"]},
    }


@pytest.mark.usefixtures("salesforce")
def test_a_change_in_moodle_makes_the_crm_differ(sandbox: Sandbox) -> None:
    mutate(sandbox.moodle, object="users", op="update", id=5, fields={"suspended": True})
    mutate(sandbox.moodle, object="enrolments", op="update", key="5:2", fields={"Status": "Not current", "Grade": ""})
    mutate(sandbox.moodle, object="users", op="delete", id=6)
    proofs = acme(sandbox)
    assert differences(proofs) == {
        "contact": {"5": ["LMS_Status__c"]},
        "enrollment": {"5:2": ["Status__c"]},
    }
    assert proofs["contact"].surplus == ["6"]


# HubSpot


class HubSpot:
    """Writes to HubSpot as a client does, and remembers the ids by match key."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, headers=HUBSPOT_AUTH)
        self.ids: dict[str, str] = {}

    def close(self) -> None:
        self._http.close()

    def upsert(self, kind: str, id_property: str, key: str, properties: dict[str, str]) -> None:
        body = {"inputs": [{"idProperty": id_property, "id": key, "properties": properties}]}
        answer = self._http.post(f"/crm/v3/objects/{kind}/batch/upsert", json=body).raise_for_status()
        self.ids[key] = answer.json()["results"][0]["id"]

    def associate(self, kind: str, key: str, to: str, to_key: str) -> None:
        body = {"inputs": [{"from": {"id": self.ids[key]}, "to": {"id": self.ids[to_key]}}]}
        self._http.post(f"/crm/v4/associations/{kind}/{to}/batch/associate/default", json=body).raise_for_status()


SMITH = {"username": "ann", "given_name": "Ann", "family_name": " Smith ", "email": "Ann@X.test", "status": "active"}
LINUX = {"title": "Linux", "code": "L1", "visible": True, "starts_at": "2026-05-01T02:00:00+02:00"}
OF_SMITH = {"learner_id": "lrn-a", "course_id": "crs-a"}


def create(sandbox: Sandbox, entity: str, row_id: str, **fields: Any) -> None:
    mutate(sandbox.school, object=entity, op="create", id=row_id, fields=fields)


@pytest.fixture
def hubspot(sandbox: Sandbox) -> Iterator[HubSpot]:
    """With all records of one learner and one course that the school was given for it."""
    create(sandbox, "learners", "lrn-a", **SMITH)
    create(sandbox, "courses", "crs-a", **LINUX)
    create(sandbox, "enrollments", "enr-a", **OF_SMITH, enrolled_at="2026-05-02T00:00:00Z")
    create(sandbox, "completions", "cmp-a", **OF_SMITH, state="in_progress", progress_pct=33.5)
    create(sandbox, "scores", "scr-a-1", **OF_SMITH, raw="7.50", graded_at="2026-05-03T00:00:00Z")
    create(sandbox, "scores", "scr-a-2", **OF_SMITH, raw="<b>9</b>", graded_at="2026-05-04T00:00:00Z")
    competency = {"code": "C1", "name": "Shell", "framework": None}
    create(sandbox, "competencies", "rtg-a", learner_id="lrn-a", competency=competency, proficient=False)
    crm = HubSpot(sandbox.hubspot)
    person = {"firstname": "Ann", "lastname": "Smith", "email": "ann@x.test", "lms_username": "ann"}
    crm.upsert("contacts", "lms_user_id", "lrn-a", person | {"lms_status": "active"})
    course = {"hs_course_name": "Linux", "lms_course_code": "L1", "lms_visible": "true"}
    crm.upsert("0-410", "lms_course_id", "crs-a", course | {"lms_starts_at": "2026-05-01T00:00:00Z"})
    enrolled = {"lms_role": "student", "lms_status": "active", "lms_enrolled_at": "2026-05-02T00:00:00Z"}
    crm.upsert("lms_enrollment", "lms_enrollment_id", "enr-a", enrolled)
    completion = {"lms_state": "in_progress", "lms_progress": "33.50", "lms_score": "7.5"}
    crm.upsert("lms_completion", "lms_completion_id", "cmp-a", completion)
    rating = {"lms_code": "C1", "lms_name": "Shell", "lms_proficient": "false"}
    crm.upsert("lms_competency", "lms_competency_id", "rtg-a", rating)
    for kind, key in (("lms_enrollment", "enr-a"), ("lms_completion", "cmp-a")):
        crm.associate(kind, key, "contacts", "lrn-a")
        crm.associate(kind, key, "0-410", "crs-a")
    crm.associate("lms_competency", "rtg-a", "contacts", "lrn-a")
    yield crm
    crm.close()


@pytest.mark.usefixtures("hubspot")
def test_hubspot_records_written_as_they_should_be_agree(sandbox: Sandbox) -> None:
    proofs = prove_globex(sandbox.school, sandbox.hubspot, created_by_us=True)
    assert [(one.held, one.expected - len(one.missing)) for one in proofs.values()] == [(1, 1)] * 5
    assert not differences(proofs)


def test_what_is_wrong_in_hubspot_is_named(sandbox: Sandbox, hubspot: HubSpot) -> None:
    url = sandbox.hubspot
    hubspot.upsert("contacts", "lms_user_id", "lrn-gone", {"lastname": "Gone"})
    mutate(url, object="0-410", op="update", id=hubspot.ids["crs-a"], properties={"lms_visible": "false"})
    second = {"object": "contacts", "id": hubspot.ids["lrn-gone"]}
    mutate(url, object="lms_enrollment", op="associate", id=hubspot.ids["enr-a"], to=second)
    course = {"object": "0-410", "id": hubspot.ids["crs-a"]}
    mutate(url, object="lms_completion", op="dissociate", id=hubspot.ids["cmp-a"], to=course)
    mutate(url, object="lms_competency", op="archive", id=hubspot.ids["rtg-a"])
    proofs = prove_globex(sandbox.school, url)
    assert differences(proofs) == {
        "course": {"crs-a": ["lms_visible"]},
        "enrollment": {"enr-a": ["contacts"]},
        "completion": {"cmp-a": ["courses"]},
    }
    assert proofs["contact"].surplus == ["lrn-gone"]
    assert "rtg-a" in proofs["competency"].missing
    assert proofs["competency"].held == 0


# The comparison


def wanted(key: str = "1", **fields: Any) -> Expected:
    return Expected(key, fields, {"Contact__c": "7", "Course__c": None})


def held(key: str = "1", contacts: tuple[str, ...] = ("7",), courses: tuple[str, ...] = (), **fields: Any) -> Held:
    return Held(key, fields, {"Contact__c": contacts, "Course__c": courses})


@pytest.mark.parametrize(
    ("value", "shown", "same"),
    [
        ("a", "a", True),
        ("a", "A", False),
        ("a", "a ", False),
        ("a", None, False),
        (True, True, True),
        (True, "true", True),
        (True, False, False),
        (False, None, False),
        (True, "1", False),
        (Decimal("71.80000"), 71.8, True),
        (Decimal(100), "100", True),
        (Decimal(1), True, False),
        (Decimal(0), None, False),
        (Decimal("71.80000"), "71.80001", False),
        (Decimal(1), "one", False),
        (NOW, "2026-11-24T12:00:00.000+0000", True),
        (NOW, "2026-11-24T12:00:00Z", True),
        (NOW, "2026-11-24T13:00:00+01:00", True),
        (NOW, "2026-11-24T12:00:00.900Z", True),
        (NOW, "2026-11-24T12:00:01Z", False),
        (NOW, "2026-11-24T12:00:00", False),
        (NOW, "noon", False),
        (NOW, None, False),
        (None, "anything", True),
    ],
)
def test_values_are_compared_by_their_kind(value: Any, shown: Any, *, same: bool) -> None:
    proof = compare(1, [wanted(F=value)], [held(F=shown)])
    assert proof.differing == ({} if same else {"1": ["F"]})
    assert proof.agrees is same


@pytest.mark.parametrize(("shown", "blank"), [(None, True), ("", True), (False, True), ("false", True), ("x", False)])
def test_a_blank_has_to_be_blank_in_records_of_ours(shown: Any, *, blank: bool) -> None:
    assert compare(1, [wanted(F=None)], [held(F=shown)], created_by_us=True).agrees is blank


@pytest.mark.parametrize(
    ("contacts", "courses", "names"),
    [
        (("7",), (), []),
        ((), (), ["Contact__c"]),
        (("8",), (), ["Contact__c"]),
        (("7", "8"), (), ["Contact__c"]),
        (("7", "7"), (), ["Contact__c"]),
        (("7",), ("2",), ["Course__c"]),
    ],
)
def test_a_record_has_exactly_its_links(contacts: tuple[str, ...], courses: tuple[str, ...], names: list[str]) -> None:
    proof = compare(1, [wanted()], [held(contacts=contacts, courses=courses)])
    assert proof.differing == ({"1": names} if names else {})


def test_missing_surplus_and_second_copies_are_told_apart() -> None:
    proof = compare(9, [wanted("1"), wanted("2")], [held("1"), held("1"), held("3")])
    assert proof == ObjectProof(in_lms=9, expected=2, held=3, missing=["2"], surplus=["1", "3"], differing={})
    assert not proof.agrees


def test_nothing_proved_is_no_agreement() -> None:
    assert not agrees({})
    assert agrees({"contact": compare(1, [wanted()], [held()])})


# The rules

LEARNER = {"id": "l", "email": "a@x.test", "family_name": "F", "status": "active"}
COURSE = {"id": "c", "title": "T"}
ENROLLMENT = {"id": "e", "learner_id": "l", "course_id": "c", "status": "active"}
COMPLETION = {"id": "k", "learner_id": "l", "course_id": "c", "state": "completed"}
SCORE = {"id": "s", "learner_id": "l", "course_id": "c", "item_type": "course", "raw": 1, "min": 0, "max": 100}
RATING = {"id": "r", "learner_id": "l", "code": "C", "name": "N"}
GOOD: dict[str, dict[str, Any]] = {
    "learners": LEARNER,
    "courses": COURSE,
    "enrollments": ENROLLMENT,
    "completions": COMPLETION,
    "scores": SCORE,
    "competencies": RATING,
}


def judged(**rows: list[dict[str, Any]]) -> dict[str, list[ValidRow]]:
    return valid_rows({entity: rows.get(entity, [row]) for entity, row in GOOD.items()})


def keys(kind: str, **rows: list[dict[str, Any]]) -> list[str]:
    return [row.key for row in judged(**rows)[kind]]


def test_good_rows_are_valid() -> None:
    assert {kind: [row.key for row in rows] for kind, rows in judged().items()} == {
        "contact": ["l"],
        "course": ["c"],
        "enrollment": ["e"],
        "completion": ["k"],
        "competency": ["r"],
    }


@pytest.mark.parametrize(
    "change",
    [
        {"id": " "},
        {"email": None},
        {"email": " "},
        {"email": "root@localhost"},
        {"email": "a.x.test"},
        {"email": "a b@x.test"},
        {"email": "a@@x.test"},
        {"email": "a@"},
        {"email": "a@x."},
        {"email": "a@.test"},
        {"email": "a@x..test"},
        {"family_name": "\t"},
        {"status": None},
        {"status": "deleted"},
        {"username": "learner0200@globex.test.1795474300"},
    ],
)
def test_a_bad_learner_takes_its_rows_along(change: dict[str, Any]) -> None:
    found = judged(learners=[LEARNER | change])
    assert [kind for kind, rows in found.items() if rows] == ["course"]


def test_learners_who_share_an_address_are_all_invalid() -> None:
    sharing = [LEARNER, LEARNER | {"id": "m", "email": "A@X.TEST"}]
    assert keys("contact", learners=[*sharing, LEARNER | {"id": "n", "email": "n@x.test"}]) == ["n"]
    # One that is invalid anyway shares with nobody.
    assert keys("contact", learners=[sharing[0], sharing[1] | {"status": "?"}]) == ["l"]


def test_all_copies_of_an_id_are_invalid() -> None:
    assert keys("course", courses=[COURSE, COURSE | {"title": None}]) == []


@pytest.mark.parametrize(
    ("entity", "kind", "change"),
    [
        ("courses", "course", {"title": " "}),
        ("courses", "course", {"starts_at": "soon"}),
        ("enrollments", "enrollment", {"course_id": "gone"}),
        ("enrollments", "enrollment", {"course_id": None}),
        ("enrollments", "enrollment", {"status": "pending_payment"}),
        ("enrollments", "enrollment", {"ends_at": "2026-13-01T00:00:00Z"}),
        ("completions", "completion", {"state": None}),
        ("completions", "completion", {"progress_pct": "half"}),
        ("completions", "completion", {"progress_pct": True}),
        ("completions", "completion", {"learner_id": "gone"}),
        ("competencies", "competency", {"name": None}),
        ("competencies", "competency", {"course_id": "gone"}),
        ("competencies", "competency", {"proficient": "perhaps"}),
    ],
)
def test_a_row_with_a_fault_is_invalid(entity: str, kind: str, change: dict[str, Any]) -> None:
    assert keys(kind) != []
    assert keys(kind, **{entity: [GOOD[entity] | change]}) == []


@pytest.mark.parametrize(
    ("enrolled_at", "starts_at", "status", "valid"),
    [
        ("2026-05-02T00:00:00Z", None, "active", False),
        ("2026-05-01T00:00:00Z", None, "active", True),
        ("2026-05-02T00:00:00Z", "2026-04-01T00:00:00Z", "active", True),
        (None, None, "active", True),
        ("2026-05-02T00:00:00Z", None, "pending_payment", True),
    ],
)
def test_a_completion_is_not_before_its_valid_enrollment(
    enrolled_at: str | None, starts_at: str | None, status: str, *, valid: bool
) -> None:
    enrollment = ENROLLMENT | {"enrolled_at": enrolled_at, "starts_at": starts_at, "status": status}
    completion = COMPLETION | {"completed_at": "2026-05-01T00:00:00Z"}
    assert (keys("completion", enrollments=[enrollment], completions=[completion]) == ["k"]) is valid


@pytest.mark.parametrize(
    ("changes", "score"),
    [
        ([{}], "1"),
        ([{"raw": "7.50"}], "7.5"),
        ([{"raw": "<b>7</b>"}], None),
        ([{"raw": 101}], None),
        ([{"raw": 5, "max": "many"}], None),
        ([{"item_type": "activity"}], None),
        ([{"course_id": "gone"}], None),
        ([{"id": "t", "raw": 2}, {"id": "s", "raw": 3}], "3"),
        ([{"id": "s", "raw": 2}, {"id": "t", "raw": 3, "graded_at": "2026-01-01T00:00:00Z"}], "3"),
        (
            [
                {"id": "s", "raw": 2, "graded_at": "2026-01-01T00:00:00Z"},
                {"id": "t", "raw": 3, "graded_at": "2026-02-01T00:00:00Z"},
                {"id": "u", "raw": 999, "graded_at": "2026-03-01T00:00:00Z"},
            ],
            "3",
        ),
    ],
)
def test_the_newest_valid_course_score_counts(changes: list[dict[str, Any]], score: str | None) -> None:
    found = judged(scores=[SCORE | change for change in changes])["completion"][0].values["score"]
    assert found == (None if score is None else Decimal(score))


# Moodle

PARTICIPANT = {
    "userid": 5,
    "courseid": 2,
    "Status": "Active",
    "Role": "Student",
    "Time created": "",
    "Time started": "",
    "Time ended": "",
    "Completed": "",
    "Time completed": "",
    "Student progress": "50.0%",
    "Grade": "",
}


def enrolled(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    return rows_of([], [], [PARTICIPANT | row for row in rows], [], now=NOW)["enrollments"]


@pytest.mark.parametrize(
    ("status", "started", "expected"),
    [
        ("Active", "", "active"),
        ("Suspended", "", "suspended"),
        ("Not current", "Wednesday, 25 November 2026, 10:50 PM", "invited"),
        ("Not current", "Monday, 23 November 2026, 10:50 PM", "expired"),
        ("Not current", "", "expired"),
        ("Odd", "", None),
    ],
)
def test_moodle_statuses(status: str, started: str, expected: str | None) -> None:
    assert enrolled({"Status": status, "Time started": started})[0]["status"] == expected


def test_of_two_methods_the_most_active_row_counts() -> None:
    found = enrolled({"Status": "Suspended"}, {"Status": "Not current"}, {"Status": "Active"}, {"Status": "Suspended"})
    assert [(row["id"], row["status"]) for row in found] == [("5:2", "active")]


def test_the_front_page_and_deleted_users_are_not_given() -> None:
    courses = [{"id": 1, "format": "site"}, {"id": 2, "format": "topics", "fullname": "R & D", "shortname": "RD"}]
    dates = {"startdate": 0, "enddate": 0}
    users = [{"id": 9, "deleted": True}, {"id": 5, "deleted": False, "suspended": True}]
    rows = rows_of(users, [course | dates for course in courses], [], [], now=NOW)
    assert [(row["id"], row["title"], row["starts_at"]) for row in rows["courses"]] == [(2, "R & D", None)]
    assert [(row["id"], row["status"]) for row in rows["learners"]] == [(5, "suspended")]


def test_moodle_times_are_london_times() -> None:
    found = enrolled({"Time created": "Thursday, 27 August 2026, 11:50 PM", "Time ended": "someday"})[0]
    assert found["enrolled_at"] == datetime(2026, 8, 27, 22, 50, tzinfo=UTC)
    assert found["ends_at"] == "someday"  # which makes the row invalid
