"""The endpoints about the account: token grants, account details, the day's use of the API."""

from urllib.parse import parse_qsl

from lms_crm_assets.sandbox.hubspot.auth import Auth
from lms_crm_assets.sandbox.hubspot.errors import PORTAL_ID
from lms_crm_assets.sandbox.hubspot.limits import Limits
from lms_crm_assets.sandbox.hubspot.table import now_ms
from lms_crm_assets.sandbox.hubspot.values import iso
from lms_crm_assets.sandbox.hubspot.wire import Answer, Call, Endpoint

_DAY_MS = 86_400_000


class Account:
    """Tokens come from `/oauth/{v1|v3|2026-03}/token`; the token endpoint itself needs none."""

    def __init__(self, auth: Auth, limits: Limits) -> None:
        self._auth = auth
        self._limits = limits

    def endpoints(self) -> list[Endpoint]:
        """Token endpoint and account information."""
        return [
            *(Endpoint("POST", f"/oauth/{version}/token", self.token, "open") for version in ("v1", "v3", "2026-03")),
            Endpoint("GET", "/account-info/v3/details", self.details),
            Endpoint("GET", "/account-info/v3/api-usage/daily/private-apps", self.usage),
        ]

    def token(self, call: Call) -> Answer:
        """`{access_token, refresh_token, expires_in, token_type, …}` for a form with a grant."""
        return Answer(self._auth.grant(dict(parse_qsl(call.body.decode(errors="replace")))))

    def details(self, _call: Call) -> Answer:
        """The portal's identity."""
        return Answer(
            {
                "portalId": PORTAL_ID,
                "accountType": "STANDARD",
                "timeZone": "UTC",
                "companyCurrency": "USD",
                "additionalCurrencies": [],
                "utcOffset": "+00:00",
                "utcOffsetMilliseconds": 0,
                "uiDomain": "app.hubspot.com",
                "dataHostingLocation": "na1",
            }
        )

    def usage(self, _call: Call) -> Answer:
        """What of the daily limit is used."""
        now = now_ms()
        used = {
            "name": "private-apps-api-calls-daily",
            "usageLimit": self._limits.options.daily_limit,
            "currentUsage": self._limits.daily_used,
            "collectedAt": iso(now),
            "fetchStatus": "SUCCESS",
            "resetsAt": iso((now // _DAY_MS + 1) * _DAY_MS),
        }
        return Answer({"results": [used]})
