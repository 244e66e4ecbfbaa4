"""Making a call to the org: with a valid session, through the gate, refreshed once, its errors translated.

One `Salesforce` object serves one thread and one session; the session's token is shared. Holes of simple-salesforce
1.12 that stay closed by that: its own refresh, which has no lock and no end, and URLs that are bound to a session.
"""

import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

import requests
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceError
from simple_salesforce.util import call_salesforce

from lms_crm_assets.contract.models import Contract, SalesforceDestination
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.salesforce.answers import SessionEndedError, UnreadableError, error_of
from lms_crm_assets.crm.salesforce.auth import Secrets, login
from lms_crm_assets.crm.salesforce.session import OneHostSession
from lms_crm_assets.ops.gate import Gate
from lms_crm_assets.ops.patience import patient
from lms_crm_assets.ops.secrets import secrets_of
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.tokens import Tokens

T = TypeVar("T")
Work = Callable[[Salesforce], T]
"""One HTTP call; raises what simple-salesforce and requests raise, or `UnreadableError`."""

# With a fresh session, and once more with one that another thread got meanwhile: sessions may end after a few calls.
_SENDS = 3
_PIECE_BYTES = 1 << 16

# Whether the call that needs a login is an urgent one: the login passes the same gate.
_urgent: ContextVar[bool] = ContextVar("urgent", default=False)


class Org:
    """One Salesforce org, entered with a tenant's credential."""

    def __init__(self, contract: Contract, destination: SalesforceDestination, store: OperationalStore) -> None:
        secrets = Secrets.of(destination, secrets_of(contract.tenant, store))
        self.url = destination.url
        self.gate = Gate(
            store,
            destination.url,
            secrets.client_id.get_secret_value(),
            calls=contract.throttle.crm.calls_per_10_seconds,
            at_once=destination.concurrency,
            quota_share=contract.guardrails.quota_share,
            watched=True,
        )
        self.name = f"{destination.url} {destination.flow} {destination.username} {secrets.digest}"
        self.version = destination.api_version
        self._session = OneHostSession(destination.url, destination.concurrency, self.gate.quota.told)
        log_in = login(self._session, destination, secrets, store, contract.tenant)

        def obtain() -> str:
            with self.gate.call(urgent=_urgent.get()):
                return log_in()

        # A refresh token's rotation belongs to a tenant.
        self._tokens = Tokens.shared(f"salesforce {self.name} {contract.tenant}", obtain)
        self._local = threading.local()

    def call(self, work: Work[T], spec: ObjectSpec | None = None, *, urgent: bool = False, of_batch: bool = False) -> T:
        """Make a call once; one that was refused for its session alone is sent again with a fresh one.

        `of_batch`: it writes a batch, of which one record may be to blame.
        """
        mark = _urgent.set(urgent)
        try:
            token = self._tokens.valid()
            for sends_left in reversed(range(_SENDS)):
                try:
                    return self._made(work, token, spec, urgent=urgent, of_batch=of_batch)
                except SessionEndedError:
                    first = sends_left == _SENDS - 1
                    following = self._tokens.valid(instead_of=token if first else None)
                    if following == token or not sends_left:
                        raise
                    token = following
            raise AssertionError("the last send either returns or raises")  # pragma: no cover
        finally:
            _urgent.reset(mark)

    def read(self, work: Work[T], spec: ObjectSpec | None = None) -> T:
        """A call that changes nothing, made again when trouble passes."""
        return patient(lambda: self.call(work, spec))

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _made(self, work: Work[T], token: str, spec: ObjectSpec | None, *, urgent: bool, of_batch: bool) -> T:
        with self.gate.call(urgent=urgent):
            try:
                return work(self._client(token))
            except (SalesforceError, requests.RequestException, UnreadableError) as exc:
                # Without its cause, which may hold what was sent.
                raise error_of(
                    exc, self.url, spec, of_batch=of_batch, retry_after_seconds=self._session.retry_after_seconds
                ) from None

    def _client(self, token: str) -> Salesforce:
        cached: tuple[str, Salesforce] | None = getattr(self._local, "client", None)
        if cached is None or cached[0] != token:
            client = Salesforce(session_id=token, instance_url=self.url, session=self._session, version=self.version)
            del client.headers["X-PrettyPrint"]  # answers would be a third longer
            cached = self._local.client = (token, client)
        return cached[1]


def send(sf: Salesforce, method: str, path: str, **options: Any) -> requests.Response:
    """One request to a path under the API's version, without the retries and the guesses of `Salesforce.restful`."""
    headers = sf.headers | options.pop("headers", {})
    return call_salesforce(sf.base_url + path, method, sf.session, headers, **options)


def send_json(sf: Salesforce, method: str, path: str, **options: Any) -> Any:
    """As `send`; gives the answer's JSON."""
    return send(sf, method, path, **options).json()


def send_object(sf: Salesforce, method: str, path: str, **options: Any) -> Mapping[str, Any]:
    """As `send_json`, where the answer has to be an object."""
    answer = send_json(sf, method, path, **options)
    if not isinstance(answer, dict):
        raise UnreadableError
    return answer


def download(sf: Salesforce, path: str, file: Path) -> Mapping[str, str]:
    """Write an answer's body to a file without holding it in memory; gives its headers."""
    with send(sf, "GET", path, headers={"Accept": "text/csv"}, stream=True) as response, file.open("wb") as out:
        out.writelines(response.iter_content(_PIECE_BYTES))
        return response.headers
