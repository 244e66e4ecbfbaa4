"""What changed since: the search by time of change, in windows (HubSpot documentation, "Search the CRM").

A search gives 200 rows a page, 10,000 in all, and its pages are offsets: a record that changes meanwhile moves to the end
and pulls the others forward, one of them past the reader. So each page starts a window of its own at the last change
seen; offsets are used within one moment only.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.contract.standard_objects import is_contacts
from lms_crm_assets.crm.hubspot.answers import listed

_PAGE = 200
_MOST_RESULTS = 10_000
# The index lags behind by seconds.
_LAG = timedelta(seconds=60)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Rows = list[Mapping[str, Any]]


class EndOfSearchError(Exception):
    """More records changed in one moment than a search gives: only a list has them all."""


@dataclass(frozen=True)
class Search:
    """Searches for the records of one object that have the match key; `ask` sends a body and gives the answer."""

    spec: ObjectSpec
    ask: Callable[[Mapping[str, Any]], Mapping[str, Any]]

    def changed_since(self, since: datetime) -> Iterator[Rows]:
        """Pages of rows, each row once for each of its changes; `EndOfSearchError` where the search ends."""
        modified = "lastmodifieddate" if is_contacts(self.spec.to) else "hs_lastmodifieddate"
        start, after = _milliseconds(since - _LAG), None
        # A row stands where it was when it was indexed, but shows its newest moment: one that was changed just now would
        # move the window past all that follows it.
        settled = _milliseconds(datetime.now(UTC) - _LAG)
        seen: dict[str, int] = {}
        while True:
            answer = self.ask(self._body(modified, start, after))
            rows = [(row, _moment(row, modified)) for row in listed(answer, "results")]
            fresh = [row for row, moment in rows if seen.get(row["id"]) != moment]
            seen.update({row["id"]: moment for row, moment in rows})
            if fresh:
                yield fresh
            following = ((answer.get("paging") or {}).get("next") or {}).get("after")
            if following is None:
                return
            last = max((moment for _, moment in rows if moment < settled), default=start)
            if last > start:
                start, after = last, None
            elif int(following) + _PAGE > _MOST_RESULTS or str(following) == after:
                raise EndOfSearchError
            else:
                after = str(following)

    def _body(self, modified: str, start: int, after: str | None) -> dict[str, Any]:
        body: dict[str, Any] = {
            "filterGroups": [
                {
                    "filters": [
                        {"propertyName": modified, "operator": "GTE", "value": str(start)},
                        {"propertyName": self.spec.match_key, "operator": "HAS_PROPERTY"},
                    ]
                }
            ],
            "sorts": [{"propertyName": modified, "direction": "ASCENDING"}],
            "properties": [self.spec.match_key, modified, *self.spec.fields],
            "limit": _PAGE,
        }
        return body if after is None else {**body, "after": after}


def _moment(row: Mapping[str, Any], modified: str) -> int:
    """The row's last change, in milliseconds since 1970."""
    return _milliseconds(datetime.fromisoformat(row["properties"].get(modified) or row["updatedAt"]))


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
