"""Trouble that passes is tried again at once."""

import pytest

from lms_crm_assets.ops import patience


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FIRST_WAIT_SECONDS", 0.01)
