"""How long the other side asks to wait, in each form that it may say it."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from lms_crm_assets.ops.retry_after import retry_after_seconds

SENT = "Tue, 24 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "1.5"}, None),
        ({"Retry-After": "٣"}, None),
        ({"Retry-After": " 7 "}, 7.0),
        ({"Retry-After": "1000000000"}, 3600.0),
        ({"Retry-After": "Tue, 24 Nov 2026 12:00:30 GMT", "Date": SENT}, 30.0),
        ({"Retry-After": "Tue, 24 Nov 2026 11:00:00 GMT", "Date": SENT}, 0.0),
        ({"Retry-After": "Tue, 24 Nov 2099 12:00:00 GMT", "Date": SENT}, 3600.0),
        ({"Retry-After": "Tue, 24 Nov 2026 12:00:30 GMT", "Date": "no date"}, None),
    ],
)
def test_seconds_and_dates_are_read_and_bounded(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_seconds(headers) == expected


def test_a_date_without_the_others_clock_is_taken_by_ours() -> None:
    found = retry_after_seconds(
        {"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)}
    )

    assert found is not None
    assert 55 <= found <= 60
