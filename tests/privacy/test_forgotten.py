"""Who is on the list is told by hashes, and whose a row is by the row itself."""

from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from lms_crm_assets.crm.protocol import CrmRecord
from lms_crm_assets.domain import CrmObject, LmsEntity, RawRecord
from lms_crm_assets.errors import CredentialError
from lms_crm_assets.lms.forgotten import left_out, without_forgotten
from lms_crm_assets.lms.protocol import Capabilities, Page
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.suppression import NAME, NOBODY, Suppression
from lms_crm_assets.snapshot.capture import without_forgotten as without_their_records
from tests.receiver_server import ENVIRON

L, E, C, S = LmsEntity.LEARNERS, LmsEntity.ENROLLMENTS, LmsEntity.COMPETENCIES, LmsEntity.SCORES


@pytest.fixture
def suppression(tmp_path: Path) -> Suppression:
    found = Suppression.at(tmp_path, ENVIRON)
    found.add("acme", [("learners", "7"), (NAME, "Jane@Example.org "), ("enrollments", "e1")])
    return found


@pytest.mark.parametrize(
    ("entity", "source_id", "payload", "theirs"),
    [
        (L, "7", {"id": 7, "email": "jane@example.org"}, True),
        (L, "8", {"id": 8, "email": "jane@example.org"}, False),  # an address may be two people's
        (E, "70", {"id": 70, "learner_id": "7"}, True),
        (E, "7", {"id": 7, "learner_id": "8"}, False),
        (E, "71", {"user_id": 7, "course_id": 7}, True),
        (E, "72", {"user_id": 8, "course_id": 7}, False),
        (E, "e1", None, True),
        (S, "73", {"student": {"sourcedId": "7"}}, True),
        (C, "74", {"links": {"user": "7"}}, True),
        (E, "x", {"columns": ["N7", "jane@example.org", "other@example.org"]}, True),
        (E, "x", {"columns": ["N8", "john", "jane@example.org"]}, False),
        (E, "x", {"columns": ["N8", "", "JANE@example.org"]}, True),
        (C, "x", {"columns": ["f", "c", "n", "jane@example.org"]}, True),
        (LmsEntity.COURSES, "7", {"id": 7}, False),
    ],
)
def test_whose_a_row_is(
    suppression: Suppression, entity: LmsEntity, source_id: str, payload: object, *, theirs: bool
) -> None:
    assert left_out(entity, RawRecord(source_id, payload), suppression.marks("acme")) is theirs
    assert not left_out(entity, RawRecord(source_id, payload), suppression.marks("globex"))


class TwoPages:
    """An LMS that says how many rows it has."""

    capabilities = Capabilities(frozenset({L}))

    def pull(self, entities: Collection[LmsEntity], since: datetime | None) -> Iterator[Page]:  # noqa: ARG002 - a protocol's
        yield Page(L, [RawRecord("6", {}), RawRecord("7", {})], total=3)
        yield Page(L, [RawRecord("7", {}), RawRecord("8", {})], total=3)

    def fetch(self, entity: LmsEntity, keys: Collection[str]) -> Iterator[Page]:
        yield Page(entity, [RawRecord(key, None, is_deleted=True) for key in keys])

    def probe(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


def test_the_rows_that_an_lms_says_it_has_are_fewer_by_those(suppression: Suppression) -> None:
    lms = TwoPages()
    without = without_forgotten(lms, suppression.marks("acme"))

    pages = list(without.pull([L], None))

    assert [[record.source_id for record in page.records] for page in pages] == [["6"], ["8"]]
    assert pages[-1].total == 2
    assert [record.source_id for page in without.fetch(L, ["7", "8"]) for record in page.records] == ["8"]
    assert without_forgotten(lms, NOBODY) is lms


def test_their_records_in_the_crm_are_not_looked_at(suppression: Suppression) -> None:
    page = [CrmRecord(key, f"crm {key}", {}, {}) for key in ("7", "8")]

    [left] = without_their_records([page], CrmObject.CONTACT, suppression.marks("acme"))

    assert [record.external_id for record in left] == ["8"]


def test_the_list_holds_no_name_and_opens_with_its_key_alone(suppression: Suppression, tmp_path: Path) -> None:
    assert suppression.marks("acme")
    kept = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())

    assert b"jane" not in kept.lower()
    other_key = {**ENVIRON, "LMS_CRM_KEY": "b3RoZXIga2V5IG90aGVyIGtleSBvdGhlciBrZXkhISE="}
    for environ in ({}, other_key):
        with pytest.raises(CredentialError):
            Suppression.at(tmp_path, environ).marks("acme")
        assert not Suppression.at(tmp_path, environ).marks("globex")


def test_a_list_whose_key_was_lost_lets_nobody_back(suppression: Suppression, tmp_path: Path) -> None:
    with OperationalStore.at(tmp_path, environ=ENVIRON).transaction() as run:
        run("DELETE FROM credentials")

    for ask in (suppression.marks, suppression.empty):
        with pytest.raises(CredentialError, match="is not in the vault"):
            ask("acme")


def test_who_is_taken_off_the_list_goes_with_all_their_marks(suppression: Suppression) -> None:
    suppression.add("acme", [("learners", "9")])

    assert suppression.lift("acme", [("learners", "jane@example.org"), (NAME, "jane@example.org")]) == 1

    marks = suppression.marks("acme")
    assert [marks.hold("learners", "7"), marks.hold("enrollments", "e1"), marks.hold("learners", "9")] == [
        False,
        False,
        True,
    ]
    assert suppression.lift("acme", [("learners", "7")]) == 0


def test_who_was_forgotten_twice_may_come_again_whole(suppression: Suppression) -> None:
    suppression.add("acme", [("learners", "7"), (NAME, "jane@new.example"), ("enrollments", "e2")])
    suppression.add("acme", [("learners", "8"), (NAME, "jane@example.org"), ("enrollments", "e3")])

    assert suppression.lift("acme", [("learners", "7")]) == 1

    marks = suppression.marks("acme")
    assert [marks.hold("enrollments", key) for key in ("e1", "e2", "e3")] == [False, False, True]
