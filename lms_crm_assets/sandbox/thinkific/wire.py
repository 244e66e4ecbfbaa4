"""What a request to Thinkific carries, and the bodies of errors (Thinkific documentation, "Admin API")."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import QueryParams

from lms_crm_assets.sandbox.school.layout import Row
from lms_crm_assets.sandbox.school.store import Shown, Store

_FILTER = re.compile(r"query\[(\w+)\]")


class ThinkificError(Exception):
    """An error as Thinkific answers it."""

    def __init__(self, status: int, body: Row, headers: Mapping[str, str] | None = None) -> None:
        """Keep the parts of the answer."""
        super().__init__(str(body))
        self.status, self.body, self.headers = status, body, dict(headers or {})


def not_found() -> ThinkificError:
    """404, for what isn't there and for paths that Thinkific or the sandbox doesn't know."""
    return ThinkificError(404, {"error": "Record not found."})


def unprocessable(name: str, message: str) -> ThinkificError:
    """422 for a parameter that makes no sense."""
    return ThinkificError(422, {"errors": {name: [message]}})


@dataclass(frozen=True)
class Call:
    """One request."""

    store: Store
    path: Mapping[str, str]
    query: QueryParams
    shown: Shown

    def filters(self, known: frozenset[str]) -> dict[str, str]:
        """The values of `query[…]` by name; unknown ones are passed over, as Rails does."""
        found = ((_FILTER.fullmatch(name), value) for name, value in self.query.multi_items())
        return {match[1]: value for match, value in found if match and match[1] in known and value}

    def number(self, name: str, default: int) -> int:
        """A whole number from 1 on; 422 for anything else."""
        text = self.query.get(name) or str(default)
        if not (text.isascii() and text.isdigit() and int(text) > 0):
            raise unprocessable(name, "is not a number from 1 on")
        return int(text)


def whole(name: str, text: str) -> int:
    """A number of a row in a filter; 422 for anything else."""
    if not (text.isascii() and text.isdigit()):
        raise unprocessable(name, "is not a number")
    return int(text)


def flag(name: str, text: str) -> bool:
    """A yes or no in a filter; 422 for anything else."""
    if text not in {"true", "false"}:
        raise unprocessable(name, "is not true or false")
    return text == "true"
