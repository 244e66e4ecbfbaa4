"""HTTP towards an LMS: pooled, with time limits, retried where the same call may succeed later."""

import json
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Self

import httpx
import orjson

from lms_crm_assets.contract.models import LmsThrottle
from lms_crm_assets.errors import (
    CredentialError,
    PermissionMissingError,
    ProtocolError,
    RateLimitedError,
    RetryableError,
    UnreachableError,
    WrongAddressError,
)
from lms_crm_assets.ops.patience import patiently
from lms_crm_assets.ops.throttle import Throttle, shared_throttle

_RETRY_AFTER_CAP_SECONDS = 3600.0
_TRANSIENT = frozenset({408, 423, 425, 500, 502, 503, 504, 521, 523, 524})


def lms_throttle(url: str, credential: str, limit: LmsThrottle) -> Throttle:
    """The throttle towards an LMS; a rate below one call a second is one call in a longer window."""
    rate = limit.calls_per_second
    if rate is None:
        return shared_throttle(url, credential, None)
    calls = max(1, int(rate))
    return shared_throttle(url, credential, calls, calls / rate)


class Transport:
    """A connection pool to one LMS. Answers are JSON or an exception of `errors`, never anything else.

    Redirects are not followed: they would carry the credential to another host.
    """

    def __init__(
        self,
        base_url: str,
        throttle: Throttle,
        *,
        headers: Mapping[str, str] | None = None,
        check: Callable[[Any], None] = lambda _: None,
        timeout_seconds: float = 60,
    ) -> None:
        """`check` sees the content of each 200 and raises what it means, for systems that report errors there."""
        self._base_url = base_url
        self._throttle = throttle
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

    def once(self, method: str, path: str, **options: Any) -> Any:
        """One call without a second try, for probes."""
        self._throttle.wait()
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
            return self.once(method, path, **options)
        except (UnreachableError, ProtocolError) as exc:
            raise WrongAddressError(f"{exc}: check source.url and that the LMS is up") from exc

    def _retried(self, method: str, path: str, **options: Any) -> Any:
        for attempt in patiently():
            with attempt:
                return self.once(method, path, **options)
        raise AssertionError("patience either returns or raises")  # pragma: no cover

    def _content(self, response: httpx.Response, path: str) -> Any:
        where = f"{self._base_url}{path}"
        status = response.status_code
        if status == httpx.codes.UNAUTHORIZED:
            raise CredentialError(f"{where} refuses the credential (401): check source.token")
        if status == httpx.codes.FORBIDDEN:
            raise PermissionMissingError(f"{where} forbids the call (403): the credential lacks a permission")
        if status == httpx.codes.TOO_MANY_REQUESTS:
            raise RateLimitedError(f"{where} limits the rate (429)", retry_after_seconds=_retry_after(response))
        if status in _TRANSIENT:
            raise RetryableError(f"{where} answers {status}", retry_after_seconds=_retry_after(response))
        if response.is_redirect:
            raise ProtocolError(f"{where} redirects elsewhere ({status}); credentials are not sent along")
        if status != httpx.codes.OK:
            raise ProtocolError(f"{where} answers {status}")
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


def _parsed(body: bytes) -> Any:
    """JSON, also with what strict parsers refuse (half a surrogate, 1e400): it reaches the checks as a text."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        lenient = json.loads(body, parse_float=str, parse_constant=str)
        return orjson.loads(json.dumps(lenient, ensure_ascii=False).encode("utf-8", "replace"))


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _RETRY_AFTER_CAP_SECONDS)
    try:
        until = parsedate_to_datetime(value)
        sent = parsedate_to_datetime(response.headers["Date"])
    except (ValueError, KeyError):
        return None
    return min(max((until - sent).total_seconds(), 0.0), _RETRY_AFTER_CAP_SECONDS)


def _reason(exc: httpx.TransportError) -> str:
    return str(exc) or type(exc).__name__
