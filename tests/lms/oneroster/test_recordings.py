"""The recorded answers of a running provider, byte for byte: what the adapter makes of them."""

from collections.abc import Mapping
from pathlib import Path

import orjson
import pytest

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import CredentialError, RetryableError
from tests.oneroster_provider import GRADEBOOK, ROSTERING, Answer, Provider, Query, adapter, served

RECORDINGS = Path(__file__).parent.parent / "recordings" / "oneroster"
RECORDED_AT = "http://127.0.0.1:8097"


def recorded(name: str, address: str) -> Answer:
    """An answer with its headers; its links point at where it is served now."""
    status, *lines = (RECORDINGS / f"{name}.headers.txt").read_text().split("\n")
    headers = dict(line.split(": ", 1) for line in lines if ": " in line)
    kept: dict[str, str] = {
        name: headers[name].replace(RECORDED_AT, address) for name in ("link", "x-total-count") if name in headers
    }
    return (
        int(status.split()[1]),
        (RECORDINGS / f"{name}.json").read_bytes(),
        kept,
    )


def first_page_and_nothing_behind_it(paths: Mapping[str, str], address: list[str]) -> Provider:
    """A provider with the recordings as the first pages of their collections."""

    def answer(path: str, query: Query) -> Answer | None:
        name = paths.get(path)
        if name is None:
            return None
        status, body, headers = recorded(name, address[0])
        if (offset := int(query["offset"])) > 0:
            body = {name: orjson.loads(body)[name][offset:]}
        return status, body, headers

    return Provider(answer=answer)


@pytest.mark.parametrize(
    ("entity", "path", "name", "total", "keys", "deleted"),
    [
        (LmsEntity.LEARNERS, f"{ROSTERING}/users", "users", 203, ["u1", "u2"], ["u1"]),
        (LmsEntity.ENROLLMENTS, f"{ROSTERING}/enrollments", "enrollments", 373, ["eu1-1", "eu1-2"], []),
        (LmsEntity.SCORES, f"{GRADEBOOK}/results", "results", 187, ["r0", "r1"], []),
    ],
)
def test_a_recorded_page_is_read_as_it_is_and_is_no_whole_list(
    entity: LmsEntity, path: str, name: str, total: int, keys: list[str], deleted: list[str]
) -> None:
    address = [""]
    with served(first_page_and_nothing_behind_it({path: name}, address)) as address[0], adapter(address[0]) as found:
        pages = found.pull([entity], None)
        first = next(pages)
        with pytest.raises(RetryableError, match=f"{name} gives 2 rows where it says it has {total}"):
            list(pages)

    assert [record.source_id for record in first.records] == keys
    assert [record.source_id for record in first.records if record.is_deleted] == deleted
    assert first.latest is not None
    assert first.latest.isoformat() in {"2026-10-01T01:00:00+00:00", "2026-10-01T02:00:00+00:00"}


def test_the_recorded_refusal_is_one_of_the_credential() -> None:
    refusal = recorded("err401", "")
    provider = Provider(answer=lambda _path, _query: refusal)

    with served(provider) as address, adapter(address) as found:
        with pytest.raises(CredentialError, match=r"users refuses the credential: check source\.client_id"):
            found.probe()
        with pytest.raises(CredentialError):
            list(found.pull([LmsEntity.LEARNERS], None))
