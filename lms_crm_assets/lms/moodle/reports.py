"""Reading a report of the report builder, filtered or whole.

A report's filters are kept by the site, for the account, until others are set: what a killed run left there would cut
a full pull short. So every read begins with setting the filters it needs, none for a whole report, and of one account
never two reads are under way in the processes that share a store.
"""

import html
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import orjson

from lms_crm_assets.errors import FatalError, LmsCrmError, MissingError, ProtocolError, RetryableError
from lms_crm_assets.lms.moodle.client import Client

Row = list[str]
"""The cells of a row as texts, empty ones as ''."""

Filters = Mapping[str, str | int]

# Operators of the report builder's filters: a date's "range" and a text's "is equal to" (Moodle: local/filters).
_DATE_RANGE = 3
_TEXT_EQUALS = 3

# A report needn't be sorted, and then the database may give a row on two pages and another one on none. Other page
# sizes cut elsewhere.
_PAGE_SIZES = (500, 467, 389)
_PATIENCE_SECONDS = 900


def since_filter(name: str, epoch: int) -> Filters:
    """Rows whose date `name` is at or after a moment."""
    return {f"{name}_operator": _DATE_RANGE, f"{name}_from": epoch}


def text_filter(name: str, value: str) -> Filters:
    """Rows whose text `name` is the value, upper or lower case."""
    return {f"{name}_operator": _TEXT_EQUALS, f"{name}_value": value}


@dataclass
class _Seen:
    """What one read has seen: rows with a person by their hash, and per pass rows without and the totals told."""

    rows: set[int] = field(default_factory=set)
    nameless: int = 0
    totals: set[int] = field(default_factory=set)

    @property
    def count(self) -> int:
        return len(self.rows) + self.nameless


class Report:
    """A report and the headers it has to have; `person` is the column that names whom a row is about."""

    def __init__(self, client: Client, report_id: int, headers: Sequence[str], person: str, setting: str) -> None:
        """`setting` is the contract's key of the report, to name in an error."""
        self._client = client
        self._id = report_id
        self._headers = list(headers)
        self.person = self._headers.index(person)
        self._setting = setting

    def check(self, size: int = 1) -> list[Row]:
        """Its first rows, as whatever filter is set shows them; `FatalError` unless it is there with its columns."""
        return self._page(0, size)[0]

    def rows(self, filters: Filters | None = None) -> Generator[list[Row]]:
        """All rows that pass the filters, page by page; a filter that the report doesn't have lets everything pass.

        `RetryableError` when fewer rows come than the site says there are.
        """
        busy = (
            f"{self._client.url}: another read of reports with the same token takes longer than {_PATIENCE_SECONDS // 60}"
            " minutes: run again later"
        )
        with self._client.alone_with_reports(_PATIENCE_SECONDS, busy):
            try:
                yield from self._passes(filters or {})
            finally:
                if filters:
                    # The next read sets its own filters anyway.
                    with suppress(LmsCrmError):
                        self._set({})

    def _set(self, filters: Filters) -> None:
        values = orjson.dumps(dict(filters)).decode()
        if self._client.call("core_reportbuilder_set_filters", {"reportid": self._id, "values": values}) is not True:
            raise ProtocolError(f"{self._named()} takes no filters: its rows can't be relied on; check {self._setting}")

    def _passes(self, filters: Filters) -> Iterator[list[Row]]:
        """The rows, read again in other pages while rows that the site says to have are missing."""
        seen = _Seen()
        for n, size in enumerate(_PAGE_SIZES):
            # Somebody else with the same account may have set others meanwhile.
            self._set(filters)
            before = len(seen.rows)
            seen.nameless, seen.totals = 0, set()
            yield from self._pages(size, seen)
            if seen.count >= max(seen.totals):
                return
            if n and len(seen.rows) == before and len(seen.totals) == 1:
                # Other pages, no other row: the report does hold some rows twice.
                return
        if seen.count < min(seen.totals):
            raise RetryableError(
                f"{self._named()} gave {seen.count} different rows of {min(seen.totals)}: rows moved between its"
                " pages; nothing was changed, give the report a sorting and run again"
            )

    def _pages(self, size: int, seen: _Seen) -> Iterator[list[Row]]:
        """Once all pages; only rows that were not seen yet."""
        of_pass: set[int] = set()
        received = 0
        for page in count():
            rows, total = self._page(page, size)
            received += len(rows)
            seen.totals.add(total)
            people = [row for row in rows if row[self.person]]
            seen.nameless += len(rows) - len(people)
            marks = [hash(tuple(row)) for row in people]
            if len(marks) == size and of_pass.issuperset(marks):
                raise ProtocolError(f"{self._named()} gives the same page again and again: its paging never ends")
            of_pass.update(marks)
            yield [row for mark, row in dict(zip(marks, people, strict=True)).items() if mark not in seen.rows]
            seen.rows.update(marks)
            if received >= total:
                return
            if not rows:
                raise RetryableError(
                    f"{self._named()} ended at {received} of {total} rows: nothing was changed, run again"
                )

    def _page(self, page: int, size: int) -> tuple[list[Row], int]:
        """The rows of a page and how many rows the report has in all."""
        form = {"reportid": self._id, "page": page, "perpage": size}
        try:
            answer = self._client.call("core_reportbuilder_retrieve_report", form)
        except MissingError as exc:
            raise FatalError(f"{self._named()} does not exist: check {self._setting}") from exc
        try:
            data = answer["data"]
            headers, rows, total = data["headers"], [row["columns"] for row in data["rows"]], int(data["totalrowcount"])
        except (KeyError, TypeError, ValueError) as exc:
            raise ProtocolError(f"{self._named()} comes without rows and their number: check {self._setting}") from exc
        if headers != self._headers:
            raise FatalError(
                f"{self._named()} has the columns {headers}, it needs {self._headers} in the language of the account:"
                f" change the report or {self._setting}"
            )
        if any(len(row) != len(headers) for row in rows):
            raise ProtocolError(
                f"{self._named()} has rows with more or fewer cells than columns: check {self._setting}"
            )
        return [[_text(cell) for cell in row] for row in rows], total

    def _named(self) -> str:
        return f"{self._client.url}: the report {self._id}"


def _text(cell: Any) -> str:
    """Cells are escaped for HTML even where raw texts are asked for."""
    return html.unescape(str(cell)) if cell is not None else ""
