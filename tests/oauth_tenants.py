"""The example tenants with flow `refresh_token`: the app's secret, an LMS's token and the refresh token lie in the vault."""

from pathlib import Path

from tests.conftest import TENANTS

# The lines of the contracts' destinations that are changed.
_CHANGED = {
    "acme": (
        ("  token: env:ACME_LMS_TOKEN\n", "  token: vault:lms_token\n"),
        ("  client_secret: env:ACME_CRM_CLIENT_SECRET\n", "  client_secret: vault:app_secret\n"),
        ("  client_id:", "  flow: refresh_token\n  refresh_token: vault:crm_refresh_token\n  client_id:"),
    ),
    "globex": (
        (
            "  access_token: env:GLOBEX_CRM_TOKEN\n",
            (
                "  flow: refresh_token\n  app_url: ${GLOBEX_CRM_URL}\n  client_id: env:ACME_CRM_CLIENT_ID\n"
                "  client_secret: vault:app_secret\n  refresh_token: vault:crm_refresh_token\n"
            ),
        ),
    ),
}
APP_SECRET = "sandbox-secret"
KEPT = {
    "acme": {"app_secret": APP_SECRET, "lms_token": "sandbox-moodle-token"},
    "globex": {"app_secret": APP_SECRET},
}
"""What the vault has to hold beside the refresh tokens."""
FIRST = {"acme": "sandbox-refresh", "globex": "sandbox-refresh-token"}


def put(folder: Path, tenant: str) -> Path:
    """The contract's file in another folder of tenants."""
    text = (TENANTS / f"{tenant}.yaml").read_text(encoding="utf-8")
    for old, new in _CHANGED[tenant]:
        assert old in text, old
        text = text.replace(old, new, 1)
    file = folder / f"{tenant}.yaml"
    file.write_text(text, encoding="utf-8")
    return file
