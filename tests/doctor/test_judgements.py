"""What the doctor makes of what it saw."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lms_crm_assets.doctor import machine
from lms_crm_assets.doctor.network import Seen, judge, look
from lms_crm_assets.doctor.packages import locked, packages
from lms_crm_assets.doctor.services import daemons
from lms_crm_assets.settings import Settings

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


@pytest.mark.parametrize("host", ["crm..example.org", f"{'a' * 64}.example.org"])
def test_a_host_that_cannot_be_one_is_a_line(host: str) -> None:
    assert look(f"https://{host}/services").trouble == f"the name {host} is not known"


def test_a_warehouse_that_cannot_be_opened_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "warehouse" / "acme.duckdb").mkdir(parents=True)

    verdict = machine.warehouse(Settings(tmp_path, tmp_path), "acme")

    assert (verdict.level, "can't be read and written by this user" in verdict.says) == ("fail", True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_lies_in_a_folder_of_somebody_elses_is_a_line(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    settings = Settings(closed / "tenants", closed / "state")
    settings.tenants_dir.mkdir(parents=True)
    closed.chmod(0)
    try:
        verdicts = {each.about: each for each in machine.settings_stand(settings, {})}
        disk, warehouse = machine.room(settings), machine.warehouse(settings, "acme")
    finally:
        closed.chmod(0o700)

    assert [verdicts[about].level for about in ("tenants", "state")] == ["fail", "fail"]
    assert (disk.about, warehouse.about) == ("disk", "warehouse")
