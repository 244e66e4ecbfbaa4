"""What the doctor makes of what it saw."""

from datetime import UTC, datetime, timedelta

import pytest
from packaging.requirements import Requirement

from lms_crm_assets.doctor.network import Seen, judge
from lms_crm_assets.doctor.packages import locked, packages
from lms_crm_assets.doctor.services import daemons

NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ahead", "level"), [(0, "ok"), (59, "ok"), (-61, "warn"), (299, "warn"), (301, "fail"), (-3600, "fail")]
)
def test_a_clock_that_is_off(ahead: int, level: str) -> None:
    seen = Seen(told_at=NOW, heard_at=NOW + timedelta(seconds=ahead))

    _, clock = judge("CRM", "http://127.0.0.1", seen, NOW)

    assert clock.level == level
    assert clock.remedy or level == "ok"


@pytest.mark.parametrize(("days", "level"), [(3, "warn"), (29, "warn"), (31, "ok")])
def test_a_certificate_that_ends(days: int, level: str) -> None:
    seen = Seen(certificate_ends=NOW + timedelta(days=days, hours=1))

    address, _ = judge("CRM", "https://crm.example.org", seen, NOW)

    assert (address.level, f"in {days} days" in address.says) == (level, True)


def test_packages_beside_the_lock() -> None:
    lock = locked('a-b==1.0 \\\n    --hash=sha256:00\nonly-there==2 ; python_version < "3" \\\n    --hash=sha256:00\n')
    assert lock == {"a-b": "1.0"}
    needs = [Requirement("a-b>=1")]

    def judged(version: str | None, python: tuple[int, ...] = (3, 11, 2)) -> list[str]:
        return [each.level for each in packages(needs, lock, {"a-b": version}.get, python)]

    assert judged("1.0") == ["ok", "ok"]
    assert judged("1.1") == ["ok", "warn"]
    assert judged("0.9") == judged(None) == ["ok", "fail"]
    assert judged("1.0", (3, 10, 1)) == ["fail", "ok"]


def test_daemons() -> None:
    assert daemons({"SENSOR": True, "SCHEDULER": True}).level == "ok"
    assert daemons(None).level == daemons({"SENSOR": False}).level == "warn"
    assert "without SCHEDULER" in daemons({"SENSOR": True, "SCHEDULER": False}).says
