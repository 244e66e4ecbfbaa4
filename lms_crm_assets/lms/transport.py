"""HTTP towards an LMS: pooled, with time limits, retried where the same call may succeed later."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Self

import httpx
import orjson

from lms_crm_assets.contract.models import LmsThrottle
from lms_crm_assets.domain import Treatment
from lms_crm_assets.errors import (
    CredentialError,
    PermissionMissingError,
    ProtocolError,
    RateLimitedError,
    RetryableError,
    UnreachableError,
    WrongAddressError,
)
from lms_crm_assets.ops.gate import Gate
from lms_crm_assets.ops.patience import patient
from lms_crm_assets.ops.retry_after import retry_after_seconds
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.treatment import Answer, treatment


def lms_gate(store: OperationalStore, url: str, credential: str, limit: LmsThrottle) -> Gate:
    """The gate before an LMS; a rate below one call a second is one call in a longer window."""
    rate = limit.calls_per_second
    calls = None if rate is None else max(1, int(rate))
    return Gate(
        store, url, credential, calls=calls, window_seconds=1.0 if rate is None or calls is None else calls / rate
    )


class Transport:
    """A connection pool to one LMS. Answers are JSON or an exception of `errors`, never anything else.

    Redirects are not followed: they would carry the credential to another host.
    """

    def __init__(
        self,
        base_url: str,
        gate: Gate,
        *,
        headers: Mapping[str, str] | None = None,
        check: Callable[[Any], None] = lambda _: None,
        timeout_seconds: float = 60,
    ) -> None:
        """`check` sees the content of each 200 and raises what it means, for systems that report errors there."""
        self._base_url = base_url
        self._gate = gate
        self._check = check
        self._client = httpx.Client(
            base_url=base_url,
            headers=dict(headers or {}),
            timeout=httpx.Timeout(timeout_seconds, connect=10),
            follow_redirects=False,
            transport=httpx.HTTPTransport(limits=httpx.Limits(max_connections=8)),
            trust_env=False,
        )

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """GET `path`, retried."""
        return self._retried("GET", path, params=params)

    def post_form(self, path: str, form: Mapping[str, Any]) -> Any:
        """POST a read-only form to `path`, retried."""
        return self._retried("POST", path, data=form)

    def once(self, method: str, path: str, *, urgent: bool = False, **options: Any) -> Any:
        """One call without a second try."""
        with self._gate.call(urgent=urgent):
            try:
                response = self._client.request(method, path, **options)
            except httpx.ConnectError as exc:
                raise UnreachableError(f"nothing answers at {self._base_url} ({_reason(exc)})") from exc
            except httpx.TransportError as exc:
                raise RetryableError(f"{self._base_url}{path} broke off: {_reason(exc)}") from exc
            return self._content(response, path)

    def probe(self, method: str, path: str, **options: Any) -> Any:
        """One call that tells whether the address is right: a dead address is an error to mend, not to wait for."""
        try:
            return self.once(method, path, urgent=True, **options)
        except (UnreachableError, ProtocolError) as exc:
            raise WrongAddressError(f"{exc}: check source.url and that the LMS is up") from exc

    def _retried(self, method: str, path: str, **options: Any) -> Any:
        return patient(lambda: self.once(method, path, **options))

    def _content(self, response: httpx.Response, path: str) -> Any:
        where = f"{self._base_url}{path}"
        if response.is_redirect:
            raise ProtocolError(f"{where} redirects elsewhere ({response.status_code}); credentials are not sent along")
        if response.status_code != httpx.codes.OK:
            raise _refusal(response, where)
        try:
            content = _parsed(response.content)
        except ValueError as exc:
            # A proxy's HTML page or a body cut short: the next try may get the real answer.
            raise UnreachableError(f"{where} answers something that is no JSON") from exc
        self._check(content)
        return content

    def close(self) -> None:
        """Close the pool."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _refusal(response: httpx.Response, where: str) -> Exception:
    """What an error answer means to us."""
    status = response.status_code
    match treatment("lms", Answer(status, message=response.text[:1000])):
        case Treatment.REFRESH:
            return CredentialError(f"{where} refuses the credential (401): check source.token")
        case Treatment.SLOW_DOWN:
            return RateLimitedError(
                f"{where} limits the rate ({status})", retry_after_seconds=retry_after_seconds(response.headers)
            )
        case Treatment.RETRY:
            return RetryableError(
                f"{where} answers {status}", retry_after_seconds=retry_after_seconds(response.headers)
            )
        case _ if status == httpx.codes.FORBIDDEN:
            return PermissionMissingError(f"{where} forbids the call (403): the credential lacks a permission")
        case _:
            return ProtocolError(f"{where} answers {status}")


def _parsed(body: bytes) -> Any:
    """JSON, also with what strict parsers refuse (half a surrogate, 1e400): it reaches the checks as a text."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        lenient = json.loads(body, parse_float=str, parse_constant=str)
        return orjson.loads(json.dumps(lenient, ensure_ascii=False).encode("utf-8", "replace"))


def _reason(exc: httpx.TransportError) -> str:
    return str(exc) or type(exc).__name__
