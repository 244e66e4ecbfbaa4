"""What rows tell about themselves doesn't hang on what stands beside them on their page."""

from datetime import UTC, datetime
from typing import Any

import pytest

from lms_crm_assets.domain import RawRecord
from lms_crm_assets.lms.rows import by_id, newest

ODD: list[Any] = [{"id": 7}, {"id": None}, {"name": "x"}, "text", None, ["id"], {"id": ""}, {"id": True}]
KEYS = [
    "7",
    "(row 4 has no id)",
    "(row 5 has no id)",
    "(row 6 has no id)",
    "(row 7 has no id)",
    "(row 8 has no id)",
    "",
    "True",
]


def test_a_page_with_odd_rows_has_the_keys_of_its_rows_each_by_itself() -> None:
    plain = [{"id": "a"}, {"id": "b"}, {"id": "c"}]

    assert by_id(plain) == [RawRecord("a", plain[0]), RawRecord("b", plain[1]), RawRecord("c", plain[2])]
    assert by_id([*plain, *ODD]) == [
        *by_id(plain),
        *(RawRecord(key, item) for key, item in zip(KEYS, ODD, strict=True)),
    ]


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        (["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", 5, None, ["Z"]], datetime(2026, 1, 3, tzinfo=UTC)),
        (["2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00Z"], datetime(2026, 1, 3, tzinfo=UTC)),
        (["2026-01-02T00:00:00Z", "no moment at all...Z"], datetime(2026, 1, 2, tzinfo=UTC)),
        ([""], None),
        ([], None),
    ],
)
def test_the_newest_stamp_is_of_those_that_can_be_read(stamps: list[Any], expected: datetime | None) -> None:
    assert newest([*({"at": stamp} for stamp in stamps), "text", {}], "at") == expected
