"""Canvas's answers: objects, and listings whose pages are followed by their Link header (Canvas docs, "Pagination")."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from lms_crm_assets.contract.credentials import Resolve, resolve
from lms_crm_assets.contract.models import CanvasSource, LmsThrottle
from lms_crm_assets.errors import CredentialError, PermissionMissingError, ProtocolError
from lms_crm_assets.lms.entry import Entry, FixedEntry, OAuthClient, OAuthEntry
from lms_crm_assets.lms.rows import Fruitful
from lms_crm_assets.lms.transport import Received, Transport, lms_gate
from lms_crm_assets.ops.gate import Gate
from lms_crm_assets.ops.store import OperationalStore

_ROOT = "/api/v1"
_ROWS_A_PAGE = 100
# Each call under way weighs 50 of a bucket of 700 (Canvas docs, "Throttling").
_MOST_AT_ONCE = 12
_LITTLE_LEFT = 100.0
_REGAINED_A_SECOND = 10.0


class CanvasApi:
    """Reads of one Canvas, paced so that its bucket of calls doesn't run dry."""

    def __init__(
        self, source: CanvasSource, limit: LmsThrottle, store: OperationalStore, secret_of: Resolve = resolve
    ) -> None:
        entry = _entry(source, secret_of)
        at_once = min(source.concurrency, _MOST_AT_ONCE)
        gate = lms_gate(store, source.url, entry.credential, limit, at_once=at_once)
        self._url = source.url
        self._transport = Transport(source.url, gate, entry, note=_watch(gate), connections=at_once)

    def probe(self, path: str) -> dict[str, Any]:
        """An object that tells whether the address is right."""
        return self._object(self._transport.probe("GET", f"{_ROOT}{path}").content, path)

    def one(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """An object; `MissingError` where there is none."""
        return self._object(self._transport.get(f"{_ROOT}{path}", params), path)

    def some(self, path: str, rows: int) -> list[Any]:
        """The first few rows of a listing."""
        return self._list(self.glance(path, rows=rows), path)

    def glance(self, path: str, params: Mapping[str, Any] | None = None, *, rows: int = 1) -> Any:
        """The beginning of whatever a path answers."""
        return self._transport.get(f"{_ROOT}{path}", {**(params or {}), "per_page": rows})

    def listing(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[list[Any]]:
        """The pages of a listing."""
        for content in self.pages(path, params):
            yield self._list(content, path)

    def pages(self, path: str, params: Mapping[str, Any] | None = None) -> Iterator[Any]:
        """The contents of a path's pages; where the next one is stands in the Link header and nowhere else."""
        answer = self._receive(f"{_ROOT}{path}", {**(params or {}), "per_page": _ROWS_A_PAGE})
        followed: set[str] = set()
        fruitful = Fruitful()
        while True:
            if not fruitful.page(_rows(answer.content)):
                raise ProtocolError(f"{self._url}{_ROOT}{path} gives the same rows on page after page: it never ends")
            yield answer.content
            if answer.next is None:
                return
            if answer.next in followed:
                raise ProtocolError(f"{self._url}{_ROOT}{path} names a page again that was read: the paging never ends")
            followed.add(answer.next)
            answer = self._receive(answer.next, None)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _receive(self, path: str, params: Mapping[str, Any] | None) -> Received:
        return self._transport.receive("GET", path, params=params)

    def _object(self, content: Any, path: str) -> dict[str, Any]:
        if not isinstance(content, dict):
            raise ProtocolError(f"{self._url}{_ROOT}{path} answers, but not as a Canvas does: check source.url")
        return content

    def _list(self, content: Any, path: str) -> list[Any]:
        if not isinstance(content, list):
            raise ProtocolError(f"{self._url}{_ROOT}{path} answers no listing as a Canvas does: check source.url")
        return content


@contextmanager
def needing(what: str) -> Iterator[None]:
    """Reads inside need a permission; `what` follows 'the Canvas token'.

    Canvas refuses for want of a permission with 403 and, on older sites, with the 401 of a bad token.
    """
    try:
        yield
    except (PermissionMissingError, CredentialError) as exc:
        raise PermissionMissingError(f"the Canvas token {what}: {exc}; see docs/canvas.md") from exc


def is_bad_request(exc: ProtocolError) -> bool:
    """Whether Canvas answered 400, by which it says that a course has no progress to tell of."""
    return exc.status == HTTPStatus.BAD_REQUEST


def _entry(source: CanvasSource, secret_of: Resolve) -> Entry:
    if source.flow == "token":
        return FixedEntry.bearer(source.url, secret_of(source.token or ""), "source.token")
    client = OAuthClient(
        f"{source.url}/login/oauth2/token",
        secret_of(source.client_id or ""),
        secret_of(source.client_secret or ""),
        "source.client_id, source.client_secret and source.refresh_token",
        "source.url",
    )
    return OAuthEntry.refresh_token(client, secret_of(source.refresh_token or ""))


def _rows(content: Any) -> list[Any]:
    """The rows of a page, which stand in an object beside what they are linked with or alone."""
    found = content.get("outcome_results") if isinstance(content, dict) else content
    return found if isinstance(found, list) else []


def _watch(gate: Gate) -> Callable[[Mapping[str, str]], None]:
    def note(headers: Mapping[str, str]) -> None:
        pause = pause_seconds(headers.get("X-Rate-Limit-Remaining"))
        if pause:
            gate.hold(pause)

    return note


def pause_seconds(remaining: str | None) -> float:
    """How long to wait before the next call, so that the bucket fills up again instead of running dry."""
    try:
        left = float(remaining) if remaining is not None else _LITTLE_LEFT
    except ValueError:
        return 0.0
    # A bucket holds some hundreds: what is far below zero, or no number, says nothing.
    return min((_LITTLE_LEFT - left) / _REGAINED_A_SECOND, 60.0) if left < _LITTLE_LEFT else 0.0
