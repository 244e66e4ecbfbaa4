"""A Moodle 4.5.6 that serves recorded answers, or a generated school: `POST /webservice/rest/server.php`.

Three accounts: `token` sees everything, `poor_token` sees itself alone (and is told so only by some functions), and
`expired_token` is refused once with `accessexception` and is unknown from then on. Everything is answered with HTTP
200; a function of the recorded service that is not simulated is answered with 501 and plain text.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from lms_crm_assets.sandbox.core import SandboxRequestError, Stats, listed
from lms_crm_assets.sandbox.moodle import (
    progress,  # noqa: F401 - it registers its functions
    reports,  # noqa: F401 - as above
    webhooks,
)
from lms_crm_assets.sandbox.moodle.functions import FUNCTIONS, Call
from lms_crm_assets.sandbox.moodle.recorded import recording
from lms_crm_assets.sandbox.moodle.rest import (
    MoodleError,
    access_exception,
    decode,
    error_response,
    missing_record,
    moodle_exception,
    result_response,
    validate,
)
from lms_crm_assets.sandbox.moodle.site import Site
from lms_crm_assets.sandbox.school.layout import Layout, Size
from lms_crm_assets.sandbox.webhooks import Listener

__all__ = ["MoodleSimulator"]

_ACCOUNT, _POOR_ACCOUNT = 3, 4
# Functions that Moodle has and that the recorded service doesn't include.
_OUTSIDE_SERVICE = {
    "core_user_create_users",
    "core_user_update_users",
    "core_user_delete_users",
    "core_course_create_courses",
    "core_course_update_courses",
    "core_course_delete_courses",
    "enrol_manual_enrol_users",
    "enrol_manual_unenrol_users",
}
_SETTINGS = ("wstoken", "wsfunction", "moodlewsrestformat", "moodlewssettingraw", "moodlewssettingfilter")


class MoodleSimulator:
    """The simulated site; `latency_seconds` is waited before every answer.

    Without `school` it is the recorded site, with it a site that holds a school of that size, see `generated`.
    """

    name = "moodle"
    lists_fewer = True
    voice = webhooks.PluginVoice()

    def __init__(
        self,
        token: str = "sandbox-moodle-token",  # noqa: S107 - the sandbox's own, public
        poor_token: str = "poor",  # noqa: S107 - as above
        latency_seconds: float = 0.0,
        *,
        expired_token: str = "expired",  # noqa: S107 - as above
        school: Size | None = None,
    ) -> None:
        """The site is filled when it is first asked for: a large school takes its time, and often nobody asks."""
        self.stats = Stats()
        self._accounts = {token: _ACCOUNT, poor_token: _POOR_ACCOUNT}
        self._expired_token = expired_token
        self._latency_seconds = latency_seconds
        self._expired = {expired_token}
        self._school = school
        self._state = _untouched(school)
        self._listener: Listener | None = None

    @cached_property
    def _site(self) -> Site:
        return Site.loaded(self._state)

    def routes(self) -> list[BaseRoute]:
        """The one endpoint."""
        return [Route("/webservice/rest/server.php", self._serve, methods=["GET", "POST"])]

    def records(self, kind: str) -> Iterable[dict[str, Any]]:
        """`users`, `courses`, `enrolments`, `competencies`; see `Site.records`."""
        return self._site.records(kind)

    def mutate(self, change: Mapping[str, Any]) -> Mapping[str, Any]:
        """Change a record in all answers; see `Site.mutate`. Told by webhook."""
        members = webhooks.members_of(self._site, change)
        row = self._site.mutate(change)
        if self._listener is not None:
            for event in webhooks.events(self._site, change, row, members):
                self._listener(event)
        return row

    def announce_to(self, listener: Listener | None) -> None:
        """Tell this one of each change from now on."""
        self._listener = listener

    def reset(self, options: Mapping[str, Any]) -> None:
        """Back to the site of the start; the options are `latency_seconds` and, of a school, its size."""
        given = dict(options)
        latency_seconds = float(given.pop("latency_seconds", self._latency_seconds))
        sizes = {field.name for field in fields(Size)} if self._school else set()
        if unknown := given.keys() - sizes:
            raise SandboxRequestError(f"unknown options: {sorted(unknown)}")
        try:
            school = replace(self._school, **given) if self._school else None
            if school:
                Layout(school)  # refuses a size that can't be
        except (TypeError, ValueError) as exc:
            raise SandboxRequestError(str(exc)) from exc
        self.load(_untouched(school))
        self._latency_seconds = latency_seconds
        self._expired = {self._expired_token}

    def dump(self) -> dict[str, Any]:
        """What the site was filled with, and what was changed since."""
        return self._site.dump() if self._is_filled else dict(self._state)

    def load(self, state: Any) -> None:
        """Take up what `dump` gave."""
        self._state = state
        if self._is_filled:
            del self._site

    @property
    def _is_filled(self) -> bool:
        return "_site" in vars(self)

    async def _serve(self, request: Request) -> Response:
        if self._latency_seconds:
            await asyncio.sleep(self._latency_seconds)
        body = parse_qsl((await request.body()).decode(errors="replace"), keep_blank_values=True)
        parameters = decode([*request.query_params.multi_items(), *body])
        settings = {name: parameters.pop(name, "") for name in _SETTINGS}
        as_json = settings["moodlewsrestformat"] == "json"
        try:
            call = replace(self._authenticate(settings), listed=listed(request))
            name = settings["wsfunction"]
            if name not in FUNCTIONS and any(item["name"] == name for item in recording("site_info")["functions"]):
                return PlainTextResponse(f"the sandbox does not simulate {name}\n", 501)
            return result_response(_run(call, name, parameters), as_json=as_json)
        except MoodleError as error:
            return error_response(error, as_json=as_json)

    def _authenticate(self, settings: Mapping[str, str]) -> Call:
        token = settings["wstoken"]
        if token in self._expired:
            self._expired.remove(token)
            raise access_exception()
        account = self._accounts.get(token)
        if account is None:
            raise moodle_exception("invalidtoken", "Invalid token - token not found")
        raw = settings["moodlewssettingraw"].lower() in {"1", "true"}
        return Call(self._site, account, privileged=account == _ACCOUNT, raw=raw)


def _untouched(school: Size | None) -> dict[str, Any]:
    """What `dump` gives of a site in which nothing was changed yet."""
    return {"school": asdict(school) if school else None}


def _run(call: Call, name: str, parameters: Mapping[str, Any]) -> Any:
    if name in _OUTSIDE_SERVICE:
        raise access_exception()
    if name not in FUNCTIONS:
        raise missing_record("external_functions")
    function = FUNCTIONS[name]
    return function.run(call, **validate(dict(function.parameters), parameters))
