"""HTTP towards an LMS: pooled, compressed, with time limits, retried where the same call may succeed later."""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx
import orjson

from lms_crm_assets import exchanges
from lms_crm_assets.contract.models import LmsThrottle
from lms_crm_assets.domain import Treatment
from lms_crm_assets.errors import (
    CredentialError,
    MissingError,
    PermissionMissingError,
    ProtocolError,
    RateLimitedError,
    RetryableError,
    UnreachableError,
    WrongAddressError,
)
from lms_crm_assets.lms.entry import Entry, refusal
from lms_crm_assets.ops.gate import Gate
from lms_crm_assets.ops.patience import patient
from lms_crm_assets.ops.retry_after import retry_after_seconds
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.ops.treatment import Answer, treatment

_FRESH_TOKENS = 3
_MOST_BYTES = 512 << 20
# What of an address may be told: its words and versions. All else may be somebody's key.
_WORD = re.compile(r"[A-Za-z_.]+|v\d+(p\d+)?", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
_MISSING = {httpx.codes.NOT_FOUND, httpx.codes.GONE}


def lms_gate(
    store: OperationalStore,
    url: str,
    credential: str,
    limit: LmsThrottle,
    *,
    own: tuple[int, float] | None = None,
    at_once: int = 20,
) -> Gate:
    """The gate before an LMS; a rate below one call a second is one call in a longer window.

    `own`: calls in seconds that the LMS is known to allow, where the contract doesn't say.
    """
    rate = limit.calls_per_second
    if rate is None:
        calls, window = own or (None, 1.0)
    else:
        calls = max(1, int(rate))
        window = calls / rate
    return Gate(store, url, credential, calls=calls, window_seconds=window, at_once=at_once, side="lms")


@dataclass(frozen=True, slots=True)
class Received:
    """An answer: its JSON and its headers; `address` is where it came from."""

    content: Any
    headers: Mapping[str, str]
    address: httpx.URL
    links: Mapping[str | None, Mapping[str, str]]

    @property
    def next(self) -> str | None:
        """The page after it where a `Link` header names one; `ProtocolError` where that is on another host."""
        link = self.links.get("next", {}).get("url")
        if link is None:
            return None
        found, own = self.address.join(link), self.address
        if (found.scheme, found.host, found.port) != (own.scheme, own.host, own.port):
            raise ProtocolError(
                f"{own.copy_with(query=None)} names a next page on another host; credentials are not sent there"
            )
        return str(found)


class Transport:
    """A connection pool to one LMS. Answers are JSON or an exception of `errors`, never anything else.

    Redirects are not followed, and no other host is called: the credential would go with the call. A refused access
    token is fetched anew once.
    """

    def __init__(
        self,
        base_url: str,
        gate: Gate,
        entry: Entry,
        *,
        check: Callable[[Any], None] = lambda _: None,
        note: Callable[[Mapping[str, str]], None] = lambda _: None,
        timeout_seconds: float = 60,
        connections: int = 8,
    ) -> None:
        """`check` sees the content of each 200 and raises what it means, for systems that report errors there.

        `note` sees the headers of every answer, for what they tell of limits.
        """
        self._base_url = base_url
        self._gate = gate
        self._entry = entry
        self._check = check
        self._note = note
        self._patience_seconds = 10 * timeout_seconds
        self._client = httpx.Client(
            base_url=base_url,
            timeout=httpx.Timeout(timeout_seconds, connect=10),
            follow_redirects=False,
            transport=httpx.HTTPTransport(
                limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
            ),
            trust_env=False,
        )

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """The content of a GET, retried."""
        return self.receive("GET", path, params=params).content

    def post_form(self, path: str, form: Mapping[str, Any]) -> Any:
        """The content of a POST of a read-only form, retried."""
        return self.receive("POST", path, data=form).content

    def receive(self, method: str, path: str, **options: Any) -> Received:
        """A call with all that its answer tells, retried. `path` may be the `next` of an earlier answer.

        `MissingError` when the LMS says that there is no such thing (404, 410).
        """
        return patient(lambda: self.once(method, path, **options))

    def once(self, method: str, path: str, *, urgent: bool = False, **options: Any) -> Received:
        """One call without a second try, but for a token that had ended."""
        headers = self._entry.headers()
        # More than once: of a token with few calls other threads may have used up the fresh one too.
        for _ in range(_FRESH_TOKENS):
            try:
                return self._send(method, path, headers, urgent=urgent, **options)
            except CredentialError as exc:
                headers = self._other(headers, exc)
        return self._send(method, path, headers, urgent=urgent, **options)

    def _other(self, refused: Mapping[str, str], why: CredentialError) -> Mapping[str, str]:
        """Other headers than the refused ones; where there are none, what the LMS said."""
        try:
            return self._entry.headers(refused)
        except CredentialError as exc:
            raise (why if self._entry.stays else exc) from None

    def probe(self, method: str, path: str, **options: Any) -> Received:
        """One call that tells whether the address is right: a dead address is an error to mend, not to wait for."""
        try:
            return self.once(method, path, urgent=True, **options)
        except (UnreachableError, ProtocolError) as exc:
            raise WrongAddressError(f"{exc}: check source.url and that the LMS is up") from exc

    def _send(self, method: str, path: str, headers: Mapping[str, str], *, urgent: bool, **options: Any) -> Received:
        with self._gate.call(urgent=urgent):
            try:
                with self._client.stream(method, path, headers=dict(headers), **options) as response:
                    body = self._read(response, path)
            except httpx.ConnectError as exc:
                raise UnreachableError(f"nothing answers at {self._base_url} ({_reason(exc)})") from exc
            except (httpx.TransportError, httpx.DecodingError) as exc:
                raise RetryableError(f"{self._where(path)} broke off: {_reason(exc)}") from None
            if exchanges.heard():
                exchanges.tell(_told(response, body))
            self._note(response.headers)
            return self._received(response, body, path)

    def _read(self, response: httpx.Response, path: str) -> bytes:
        """The body, within the time and the size that an answer may have: it is in memory whole."""
        give_up_at, pieces, size = time.monotonic() + self._patience_seconds, [], 0
        for piece in response.iter_bytes():
            pieces.append(piece)
            size += len(piece)
            if size > _MOST_BYTES:
                raise ProtocolError(f"{self._where(path)} answers more than {_MOST_BYTES >> 20} MiB at once")
            if time.monotonic() > give_up_at:
                raise RetryableError(
                    f"{self._where(path)} takes longer than {self._patience_seconds:.0f} s for one answer"
                )
        return b"".join(pieces)

    def _received(self, response: httpx.Response, body: bytes, path: str) -> Received:
        if response.status_code != httpx.codes.OK:
            where = self._where(path)
            if response.is_redirect:
                raise ProtocolError(
                    f"{where} redirects elsewhere ({response.status_code}); credentials are not sent along"
                )
            raise self._failure(response, body, where)
        try:
            content = _parsed(body)
        except ValueError as exc:
            # A proxy's HTML page or a body cut short: the next try may get the real answer.
            raise UnreachableError(f"{self._where(path)} answers something that is no JSON") from exc
        self._check(content)
        return Received(content, response.headers, response.url, response.links)

    def _failure(self, response: httpx.Response, body: bytes, where: str) -> Exception:
        """What an error answer means to us."""
        status = response.status_code
        wait = retry_after_seconds(response.headers)
        match treatment("lms", Answer(status, message=body[:1000].decode(errors="replace"))):
            case Treatment.REFRESH:
                return refusal(where, self._entry.keys)
            case Treatment.SLOW_DOWN:
                return RateLimitedError(f"{where} limits the rate ({status})", retry_after_seconds=wait)
            case Treatment.RETRY:
                return RetryableError(f"{where} answers {status}", retry_after_seconds=wait)
            case _ if status == httpx.codes.FORBIDDEN:
                return PermissionMissingError(f"{where} forbids the call (403): the credential lacks a permission")
            case _ if status in _MISSING:
                return MissingError(f"{where} answers {status}", status=status)
            case _:
                return ProtocolError(f"{where} answers {status}", status=status)

    def _where(self, path: str) -> str:
        """The address without its query and without keys, which may tell who somebody is."""
        found = self._client.build_request("GET", path).url
        parts = [part if not part or _WORD.fullmatch(part) else "…" for part in found.path.split("/")]
        return f"{found.scheme}://{found.netloc.decode()}{'/'.join(parts)}"

    def close(self) -> None:
        """Close the pool."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _told(response: httpx.Response, body: bytes) -> exchanges.Exchange:
    request = response.request
    return exchanges.Exchange(
        "lms",
        request.method,
        str(request.url),
        request.headers.get("Content-Type", ""),
        request.content,
        response.status_code,
        response.headers,
        body,
    )


def _parsed(body: bytes) -> Any:
    """JSON, also with what strict parsers refuse (half a surrogate, 1e400): it reaches the checks as a text.

    Half a surrogate, which is no character, becomes the one that stands for such, and that the checks refuse.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        lenient = json.loads(body, parse_float=str, parse_constant=str)
        return orjson.loads(_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", json.dumps(lenient, ensure_ascii=False)))


def _reason(exc: Exception) -> str:
    """What broke; of what we sent ourselves only the kind, since its text quotes the headers."""
    return type(exc).__name__ if isinstance(exc, httpx.LocalProtocolError) else str(exc) or type(exc).__name__
