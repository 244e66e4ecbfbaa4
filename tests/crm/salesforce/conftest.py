"""Each test starts as a new process does, without a session, and tries again at once."""

import pytest

from lms_crm_assets.ops import patience, tokens


@pytest.fixture(autouse=True)
def _new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_shared", {})
    monkeypatch.setattr(patience, "_FIRST_WAIT_SECONDS", 0.01)
