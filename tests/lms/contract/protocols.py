"""Each protocol: the simulator that serves it, how a contract enters it, and what its rows have to tell of the school."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from lms_crm_assets.contract.loading import parse_contract
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.lms.adapters import lms_adapter
from lms_crm_assets.lms.protocol import LmsAdapter
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.sandbox.canvas import CanvasSimulator
from lms_crm_assets.sandbox.moodle import MoodleSimulator
from lms_crm_assets.sandbox.oneroster import OneRosterSimulator
from lms_crm_assets.sandbox.school.api import SchoolSimulator
from lms_crm_assets.sandbox.school.layout import Size
from lms_crm_assets.sandbox.thinkific import ThinkificSimulator
from tests.lms.contract import editing, facts
from tests.lms.contract.facts import Facts, Records

LEARNERS, COURSES, ENROLLMENTS, *_ = LmsEntity

SECRETS = {
    "good": "good-secret-value",
    "wrong": "wrong-secret-value",
    "poor": "poor",
    "refresh": "refresh-secret-value",
}
ENVIRON = {
    **{f"LMS_{name.upper()}": value for name, value in SECRETS.items()},
    "LMS_CLIENT": "sandbox-client",
    "LMS_CANVAS_SECRET": "sandbox-secret",
    "LMS_CRM_KEY": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s=",
    "CRM_TOKEN": "unused",
}
"""What the contracts' references name."""

START = "2025-01-06T00:00:00Z"
"""The school's own dates are past: what is edited gets the time of now."""

_REPORTS = {"participants": 1, "users": 2, "competencies": 3}


@dataclass(frozen=True)
class Protocol:
    """`wrong`, `poor` and `expiring` change the `source` of a contract, `login` is the route by which tokens come."""

    name: str
    simulator: Callable[[Mapping[str, Any]], Any]
    """Of a school of that size."""
    source: Mapping[str, Any]
    facts: Callable[[Records], Facts]
    valid: Callable[[Records], dict[str, set[Any]]]
    editor: Callable[..., "editing.Editor"]
    told: Mapping[LmsEntity, Callable[[Any], Any]]
    """What a raw row tells of that for which `facts` has the value."""
    entities: tuple[LmsEntity, ...] = tuple(LmsEntity)
    """What is read; the simulator has to serve it."""
    wrong: Mapping[str, Any] = field(default_factory=lambda: {"token": "env:LMS_WRONG"})
    poor: Mapping[str, Any] = field(default_factory=lambda: {"token": "env:LMS_POOR"})
    expiring: Mapping[str, Any] | None = None
    ended: Mapping[str, Any] = field(default_factory=lambda: {"kind": "status", "status": 401})
    """The fault by which a token has ended."""
    login: str | None = None
    keeps: Callable[[LmsEntity, str, Facts], bool] = lambda _entity, _key, _facts: False
    """Whether a row may stay of which the LMS tells nothing any more."""
    place: frozenset[str] = frozenset({"page"})
    """The parameters that tell which page of a listing is asked for."""

    @property
    def staged_by(self) -> str:
        """The adapter's name in a contract."""
        return str(self.source["adapter"])

    def adapter(self, address: str, store: OperationalStore, **changes: Any) -> LmsAdapter:
        """The adapter of a contract; `changes` of its source."""
        source = {**self.source, "url": address, **changes}
        if "token_url" in source:
            source["token_url"] = f"{changes.get('url', address)}/token"
        contract = {
            "version": 2,
            "tenant": "acme",
            "source": {name: value for name, value in source.items() if value is not None},
            # Nobody's own pace: the simulator is the only one who is asked.
            "throttle": {"lms": {"calls_per_second": 1000}},
            "destination": {"adapter": "hubspot", "url": "https://crm.test", "access_token": "env:CRM_TOKEN"},
            "objects": {
                "contact": {"to": "contacts", "match_key": "lms_user_id", "fields": {"lastname": "family_name"}}
            },
        }
        return lms_adapter(parse_contract(json.dumps(contract), Path("tenants/acme.yaml"), ENVIRON), store)


def _moodle(size: Mapping[str, Any]) -> MoodleSimulator:
    return MoodleSimulator(token=SECRETS["good"], school=Size(**size))


CHANGES = Protocol(
    name="changes",
    simulator=lambda size: SchoolSimulator(SECRETS["good"], **size),
    source={
        "adapter": "changes",
        "token": "env:LMS_GOOD",
        "page_size": 7,
        "concurrency": 2,
        "overlap_seconds": 0,
    },
    facts=facts.changes,
    valid=partial(facts.valid_of_school, without=frozenset({"pending_payment"})),
    editor=editing.SchoolEditor,
    told=dict.fromkeys(LmsEntity, lambda payload: payload),
    place=frozenset({"cursor"}),
)
CANVAS = Protocol(
    name="canvas",
    simulator=lambda size: CanvasSimulator(SECRETS["good"], refresh_token=SECRETS["refresh"], **size),
    source={"adapter": "canvas", "token": "env:LMS_GOOD"},
    facts=facts.canvas,
    valid=partial(facts.valid_of_school, without=frozenset()),
    editor=editing.SchoolEditor,
    told={
        LEARNERS: lambda payload: (payload["email"], payload["first_name"]),
        COURSES: lambda payload: payload["name"],
        ENROLLMENTS: lambda payload: payload["user_id"],
    },
    expiring={
        "flow": "refresh_token",
        "token": None,
        "client_id": "env:LMS_CLIENT",
        "client_secret": "env:LMS_CANVAS_SECRET",
        "refresh_token": "env:LMS_REFRESH",
    },
)
ONEROSTER = Protocol(
    name="oneroster",
    simulator=lambda size: OneRosterSimulator("sandbox-client", SECRETS["good"], **size),
    source={
        "adapter": "oneroster",
        "token_url": "",
        "client_id": "env:LMS_CLIENT",
        "client_secret": "env:LMS_GOOD",
        "page_size": 7,
        "overlap_seconds": 0,
    },
    facts=facts.oneroster,
    valid=partial(facts.valid_of_school, without=frozenset({"withdrawn"})),
    editor=editing.SchoolEditor,
    told={
        LEARNERS: lambda payload: (payload.get("email"), payload["givenName"]),
        COURSES: lambda payload: payload["title"],
        ENROLLMENTS: lambda payload: payload["user"]["sourcedId"],
    },
    wrong={"client_secret": "env:LMS_WRONG"},
    poor={"client_id": "env:LMS_POOR"},
    expiring={},
    login="/token",
    place=frozenset({"offset"}),
)
THINKIFIC = Protocol(
    name="thinkific",
    simulator=lambda size: ThinkificSimulator(SECRETS["good"], **size),
    # Thinkific takes the seconds of `updated_after` as passed.
    source={
        "adapter": "thinkific",
        "subdomain": "sandbox",
        "api_key": "env:LMS_GOOD",
        "page_size": 7,
        "overlap_seconds": 1,
    },
    facts=facts.thinkific,
    valid=partial(facts.valid_of_school, without=frozenset({"withdrawn"})),
    editor=editing.SchoolEditor,
    told={
        LEARNERS: lambda payload: (payload["email"], payload["first_name"]),
        COURSES: lambda payload: payload["name"],
        ENROLLMENTS: lambda payload: payload["user_id"],
    },
    wrong={"api_key": "env:LMS_WRONG"},
    poor={"flow": "token", "token": "env:LMS_POOR", "subdomain": None, "api_key": None},
)
_ENDED = {"exception": "core\\exception\\moodle_exception", "errorcode": "invalidtoken", "message": "Invalid token"}
_MOODLE_ENDED = {"kind": "status", "status": 200, "body": json.dumps(_ENDED)}
_MOODLE_PLACE = frozenset({"page", "options[0][value]"})
_OF_MOODLE: dict[LmsEntity, Callable[[Any], Any]] = {
    LEARNERS: lambda payload: (payload.get("email") or None, payload["firstname"]),
    COURSES: lambda payload: payload["shortname"],
}
MOODLE_BY_COURSE = Protocol(
    name="moodle by course",
    simulator=_moodle,
    source={"adapter": "moodle", "token": "env:LMS_GOOD", "timezone": "Europe/London", "overlap_seconds": 0},
    facts=facts.moodle_by_course,
    valid=facts.valid_of_moodle,
    editor=editing.MoodleEditor,
    told={**_OF_MOODLE, ENROLLMENTS: lambda payload: payload["active"]},
    # The simulator has no competency reports of single people.
    entities=tuple(LmsEntity)[:-1],
    keeps=facts.known_of_inactive,
    place=_MOODLE_PLACE,
    ended=_MOODLE_ENDED,
)
MOODLE_BY_REPORT = Protocol(
    name="moodle by report",
    simulator=_moodle,
    source={**MOODLE_BY_COURSE.source, "reports": _REPORTS},
    facts=facts.moodle_by_report,
    valid=facts.valid_of_moodle,
    editor=editing.MoodleEditor,
    told={**_OF_MOODLE, ENROLLMENTS: lambda payload: payload["columns"][6]},
    place=_MOODLE_PLACE,
    ended=_MOODLE_ENDED,
)

PROTOCOLS = {each.name: each for each in (CHANGES, CANVAS, ONEROSTER, THINKIFIC, MOODLE_BY_COURSE, MOODLE_BY_REPORT)}
