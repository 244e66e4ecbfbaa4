"""The one way in which HubSpot is called.

Holes of hubspot-api-client 12 closed here: a new pool for each access (one client object is kept), no time limits,
retries of its own (switched off: one layer only), models that drop errors (the plain answer is asked for), a token that
is the client's and not the call's (it is given with each call), a copy of each body that is made value by value (bodies go
as they are).
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import urlencode

import orjson
import urllib3
from hubspot.crm.objects import ApiClient, Configuration
from hubspot.crm.objects.exceptions import ApiException

from lms_crm_assets import exchanges
from lms_crm_assets.contract.models import Contract, HubSpotDestination
from lms_crm_assets.crm.hubspot.answers import TokenRefusedError, broken, failure, unreadable
from lms_crm_assets.crm.hubspot.auth import entry
from lms_crm_assets.crm.hubspot.paths import Paths
from lms_crm_assets.ops.gate import Gate, Pool
from lms_crm_assets.ops.patience import patient
from lms_crm_assets.ops.store import OperationalStore

PoolName = Literal["", "search", "associations"]

_TIMEOUT_SECONDS = (10, 120)
# HubSpot documentation, "API usage guidelines" and "Search the CRM".
_POOLS = {"search": Pool(5, 1.0, is_part=False), "associations": Pool(150, 10.0, is_part=True)}
_WINDOW_MILLISECONDS = "10000"
_AT_ONCE = 20
_SUCCESSES = range(200, 300)
_NOT_SENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.LocationValueError,
    urllib3.exceptions.ProxyError,
)


class HubSpotClient:
    """The calls to one portal, every one inside its gate."""

    def __init__(self, contract: Contract, destination: HubSpotDestination, store: OperationalStore) -> None:
        self.url = destination.url
        self.paths = Paths(destination.api_version)
        configuration = Configuration(host=destination.url)
        configuration.retries = False
        configuration.connection_pool_maxsize = _AT_ONCE
        self._client = ApiClient(configuration)
        # What is sent is plain JSON already: its walk through every value took a third of a call's CPU.
        self._client.sanitize_for_serialization = _as_it_is
        self._entry = entry(destination, contract.tenant, store, self._ask_for_token)
        calls, share = contract.throttle.crm.calls_per_10_seconds, contract.guardrails.quota_share
        self.calls_per_10_seconds = calls or destination.calls_per_10_seconds
        self._gate = Gate(
            store,
            destination.url,
            self._entry.credential,
            calls=self.calls_per_10_seconds,
            at_once=_AT_ONCE,
            quota_share=share,
            pools=_POOLS,
            watched=True,
        )
        self._told_quota = False

    @property
    def traffic(self) -> Mapping[str, int]:
        """Calls made so far: `calls`, of them `rate_limited` and `failed`."""
        return self._gate.traffic

    @property
    def quota(self) -> tuple[int, int] | None:
        """Calls used and allowed a day, when an answer told; OAuth apps are not told."""
        return self._gate.quota.known() if self._told_quota else None

    @property
    def has_to_ask_for_quota(self) -> bool:
        """Whether the day's share was used up when an answer told last, and this client's calls told nothing yet."""
        return not self._told_quota and self._gate.had_used_its_share

    def read(self, method: str, path: str, **options: Any) -> Any:
        """A call that changes nothing, made again when trouble passes."""
        return patient(lambda: self.call(method, path, **options))

    def call(self, method: str, path: str, **options: Any) -> Any:
        """One call; a refused token is refreshed once and the call sent once more.

        Gives the JSON object of the answer, None when it is meant to be empty; raises the errors of `errors`. `query`
        and `body` are sent; `pool` names the limit that the call counts against; `urgent`: a person waits for it;
        `is_batch`: it carries records, any of which may be to blame when it is refused.
        """
        token = self._entry.token()
        try:
            return self._once(token, method, path, **options)
        except TokenRefusedError:
            return self._once(self._entry.token(token), method, path, **options)

    def close(self) -> None:
        """Close the connections."""
        self._client.rest_client.pool_manager.clear()
        self._client.close()

    def _once(
        self,
        token: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        pool: PoolName = "",
        urgent: bool = False,
        is_batch: bool = False,
    ) -> Any:
        said = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        with self._gate.call(urgent=urgent, pool=pool):
            status, headers, content = self._exchange(method, path, said, query=query, body=body)
            self._note_limits(headers, pool)
            if exchanges.heard():
                exchanges.tell(self._heard(method, path, query, body, (status, headers, content)))
            if status not in _SUCCESSES:
                raise failure(status, headers, content, url=self.url, keys=self._entry.keys, is_batch=is_batch)
            return None if status == HTTPStatus.NO_CONTENT else self._object(content)

    def _ask_for_token(self, form: dict[str, str]) -> tuple[int, dict[str, object]]:
        """Send a form to the token endpoint; only its answers about the form come back, all else raises."""
        with self._gate.call():
            status, headers, content = self._exchange(
                "POST", self.paths.token, {"Content-Type": "application/x-www-form-urlencoded"}, form=form
            )
            if status not in {HTTPStatus.OK, HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
                raise failure(status, headers, content, url=self.url, keys=self._entry.keys, is_batch=False)
            if status == HTTPStatus.OK:
                return status, self._object(content)
            try:
                said = orjson.loads(content)
            except orjson.JSONDecodeError:
                said = {}
            return status, said if isinstance(said, dict) else {}

    def _exchange(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        *,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes | str]:
        """Status, headers and body of one answer, whatever it says."""
        try:
            answer = self._client.call_api(
                path,
                method,
                query_params=dict(query or {}),
                header_params={"Accept": "application/json", **headers},
                body=body,
                post_params=dict(form or {}),
                auth_settings=[],
                _preload_content=False,
                _request_timeout=_TIMEOUT_SECONDS,
            )
            content: bytes = answer.data  # the client leaves reading to us, and the connection breaks here too
        except ApiException as exc:
            return self._told(exc)
        except UnicodeDecodeError as exc:
            # The client decodes an error's body before it tells of the error.
            if isinstance(exc.__context__, ApiException):
                return exc.__context__.status, exc.__context__.headers or {}, b""
            raise broken(self.url, exc, sent=True) from None
        except _NOT_SENT as exc:
            raise broken(self.url, exc, sent=False) from None
        except urllib3.exceptions.HTTPError as exc:
            raise broken(self.url, exc, sent=True) from None
        return answer.status, answer.headers, content

    def _heard(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Mapping[str, Any] | None,
        answer: tuple[int, Mapping[str, str], bytes | str],
    ) -> exchanges.Exchange:
        status, headers, content = answer
        return exchanges.Exchange(
            "crm",
            method,
            f"{self.url}{path}" + (f"?{urlencode(query, doseq=True)}" if query else ""),
            "application/json" if body is not None else "",
            orjson.dumps(body) if body is not None else b"",
            status,
            headers,
            content.encode() if isinstance(content, str) else content,
        )

    def _told(self, exc: ApiException) -> tuple[int, Mapping[str, str], bytes | str]:
        if not exc.status:  # TLS could not be set up
            raise broken(self.url, exc, sent=False) from None
        return exc.status, exc.headers or {}, exc.body or b""

    def _object(self, content: bytes | str) -> dict[str, Any]:
        try:
            found = orjson.loads(content)
        except orjson.JSONDecodeError:
            raise unreadable(self.url) from None
        if not isinstance(found, dict):
            raise unreadable(self.url)
        return found

    def _note_limits(self, headers: Mapping[str, str], pool: PoolName) -> None:
        told = {name: headers.get(f"X-HubSpot-RateLimit-{name}", "") for name in ("Max", "Daily", "Daily-Remaining")}
        numbers = {name: int(text) for name, text in told.items() if text.isascii() and text.isdigit()}
        of_ten_seconds = headers.get("X-HubSpot-RateLimit-Interval-Milliseconds") == _WINDOW_MILLISECONDS
        if of_ten_seconds and pool != "search" and numbers.get("Max"):
            self._gate.told_rate(numbers["Max"])
        if "Daily-Remaining" in numbers and numbers.get("Daily"):
            self._told_quota = True
            self._gate.quota.told(numbers["Daily"] - numbers["Daily-Remaining"], numbers["Daily"])


def _as_it_is(value: Any) -> Any:
    return value
