"""The adapter before a provider: contracts' values, and the environment that holds the client's secret."""

import pytest

from lms_crm_assets.ops import tokens


@pytest.fixture(autouse=True)
def _client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials as the simulator knows them, and no token of another test."""
    monkeypatch.setattr(tokens, "_shared", {})
    monkeypatch.setenv("OR_CLIENT", "sandbox-client")
    monkeypatch.setenv("OR_POOR_CLIENT", "poor")
    monkeypatch.setenv("OR_SECRET", "sandbox-secret")
