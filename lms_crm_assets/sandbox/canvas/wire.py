"""What a request to Canvas carries, what it is answered with, and the bodies of errors.

Error texts: Canvas source, `application_controller.rb` and `authentication_methods.rb`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from starlette.datastructures import QueryParams

from lms_crm_assets.sandbox.school.layout import Row
from lms_crm_assets.sandbox.school.store import Shown, Store

ACCOUNT_ID = 1
ACCOUNT_NAME = "Sandbox Canvas"


class CanvasError(Exception):
    """An error as Canvas answers it."""

    def __init__(self, status: int, body: Row, headers: Mapping[str, str] | None = None) -> None:
        """Keep the parts of the answer."""
        super().__init__(str(body))
        self.status, self.body, self.headers = status, body, dict(headers or {})


def not_found() -> CanvasError:
    """404, for what isn't there and for paths that Canvas or the sandbox doesn't know."""
    return CanvasError(404, {"errors": [{"message": "The specified resource does not exist."}]})


def forbidden() -> CanvasError:
    """403 for a user who lacks the right; no rate limit."""
    message = "user not authorized to perform that action"
    return CanvasError(403, {"status": "unauthorized", "errors": [{"message": message}]})


def bad_request(message: str) -> CanvasError:
    """400 with one message."""
    return CanvasError(400, {"errors": [{"message": message}]})


@dataclass(frozen=True)
class Viewer:
    """Who asks: a service user of Canvas who is no learner of the school."""

    user_id: int
    name: str
    privileged: bool


@dataclass(frozen=True)
class Call:
    """One request. `url` is its own address without the query, `root` the server's."""

    store: Store
    viewer: Viewer
    path: Mapping[str, Any]
    query: QueryParams
    url: str
    root: str
    shown: Shown

    def many(self, name: str) -> list[str]:
        """The values of `name[]`, or of `name`."""
        return self.query.getlist(f"{name}[]") + self.query.getlist(name)

    def one(self, name: str) -> str | None:
        """The value of `name`; an empty one counts as absent, as in Rails' `present?`."""
        return self.query.get(name) or None

    def need_privilege(self) -> None:
        """Go on only for an account admin; 403 otherwise."""
        if not self.viewer.privileged:
            raise forbidden()


@dataclass(frozen=True)
class Answer:
    """A body, and the Link header's addresses by their `rel`."""

    body: Any
    links: Mapping[str, str] = field(default_factory=dict)


Handler: TypeAlias = Callable[[Call], Answer]
