"""One collection of a provider: its rows whole or since a moment, and single ones by their sourcedIds."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from lms_crm_assets.errors import MissingError, ProtocolError
from lms_crm_assets.lms.oneroster.offsets import Listing, Window
from lms_crm_assets.lms.oneroster.rows import sourced_id
from lms_crm_assets.lms.transport import Received, Transport

ROSTERING = "/ims/oneroster/rostering/v1p2"
GRADEBOOK = "/ims/oneroster/gradebook/v1p2"

# By these a provider says that it doesn't know a parameter; any other answer says nothing of the query.
_REFUSALS = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY}
_SORT = {"sort": "sourcedId", "orderBy": "asc"}


class Collection:
    """The rows at `path`; a listing holds them under `plural`, a single one comes under `singular`.

    `url` is the provider's, to name in errors.
    """

    def __init__(self, transport: Transport, url: str, path: str, plural: str, singular: str) -> None:
        self.name = plural
        self.where = f"{url}{path}"
        self._transport, self._path, self._plural, self._singular = transport, path, plural, singular
        self._refused: set[str] = set()

    def probe(self, *, first: bool = False) -> None:
        """One call for one row; with `first` a dead or wrong address is an error to mend."""
        call = self._transport.probe if first else self._transport.once
        self._window(call("GET", self._path, params={"limit": 1, "offset": 0}))

    def listing(self, since: datetime | None, *, page_size: int, at_once: int) -> Listing:
        """All rows, or those that changed at or after `since`.

        A provider that refuses the filter is read whole. One that refuses to sort is read in its own order.
        """
        query: dict[str, Any] = {**_SORT, "limit": page_size}
        if since is not None:
            query["filter"] = f"dateLastModified>='{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'"
        return Listing(self.where, partial(self._read, query), at_once)

    def one(self, key: str) -> Any:
        """The row with this sourcedId; None where the provider has none."""
        path = f"{self._path}/{quote(key, safe='')}"
        try:
            answer = self._transport.get(path)
        except MissingError:
            return None
        row = answer.get(self._singular) if isinstance(answer, dict) else None
        if sourced_id(row) != key:
            raise ProtocolError(
                f"{self.where} was asked for one of the {self._plural} by its sourcedId and gives something else"
            )
        return row

    def is_offered(self) -> bool:
        """Whether the provider has such a collection: not if it says twice that there is none."""
        return self._first_row() is not None or self._first_row() is not None

    def is_given_by_key(self) -> bool:
        """Whether a row can be asked for by its sourcedId: one that is listed has to be found by it.

        A provider without that route answers 404 for each row as if it were gone. Without any row there is none to find.
        """
        rows = self._first_row()
        if rows is None:
            return False
        key = sourced_id(rows[0]) if rows else None
        return not rows or (key is not None and self.one(key) is not None)

    def _first_row(self) -> Sequence[Any] | None:
        """The first row as a list of one, an empty one where the collection is empty; None where there is none."""
        try:
            return self._ask({"limit": 1}, 0).rows[:1]
        except MissingError:
            return None

    def _read(self, query: Mapping[str, Any], offset: int) -> Window:
        if offset > 0:
            return self._ask(query, offset)
        try:
            return self._ask(query, offset)
        except ProtocolError as refusal:
            if refusal.status not in _REFUSALS:
                raise
        try:
            return self._ask(query, offset)  # a refusal that passes is none
        except ProtocolError as refusal:
            if refusal.status not in _REFUSALS:
                raise
            return self._ask_for_less(query, refusal)

    def _ask_for_less(self, query: Mapping[str, Any], refusal: ProtocolError) -> Window:
        """The first page without what the provider refuses of the query, which is then left out of all calls.

        What was refused is only known by what helps: the answers' texts for it differ between providers.
        """
        for less in ({"sort"}, {"filter"}, {"sort", "filter"}):
            if not less <= query.keys() - self._refused:
                continue
            before, self._refused = self._refused, self._refused | less
            try:
                return self._ask(query, 0)
            except ProtocolError as exc:
                self._refused = before
                if exc.status not in _REFUSALS:
                    raise
        raise refusal

    def _ask(self, query: Mapping[str, Any], offset: int) -> Window:
        left_out = self._refused | ({"orderBy"} if "sort" in self._refused else set())
        params = {name: value for name, value in query.items() if name not in left_out}
        return self._window(self._transport.receive("GET", self._path, params={**params, "offset": offset}))

    def _window(self, received: Received) -> Window:
        rows = received.content.get(self._plural) if isinstance(received.content, dict) else None
        if not isinstance(rows, list):
            raise ProtocolError(f"{self.where} answers without the list '{self._plural}' that OneRoster 1.2 asks for")
        total = received.headers.get("X-Total-Count", "").strip()
        count = int(total) if total.isascii() and total.isdigit() else None
        return Window(rows, count, in_order="sort" not in self._refused)
