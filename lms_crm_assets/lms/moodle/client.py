"""Calls of Moodle's web service functions."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import httpx

from lms_crm_assets.contract.credentials import Resolve, resolve
from lms_crm_assets.contract.models import LmsThrottle, MoodleSource
from lms_crm_assets.errors import PermissionMissingError, ProtocolError
from lms_crm_assets.lms.entry import FixedEntry
from lms_crm_assets.lms.moodle.answers import NotInServiceError, raise_for_exception
from lms_crm_assets.lms.transport import Transport, lms_gate
from lms_crm_assets.ops.store import OperationalStore

_ENDPOINT = "/webservice/rest/server.php"
_SITE_INFO = "core_webservice_get_site_info"
# All users and all grades of a course come unpaged, some 5 ms a user: 600 s are 100,000 of them.
_UNPAGED = httpx.Timeout(600, connect=10)


@dataclass(frozen=True)
class Site:
    """What the site says of our token: the account it belongs to and the functions of its service."""

    account: int
    functions: frozenset[str]


class Client:
    """One account at one Moodle."""

    def __init__(
        self, source: MoodleSource, limit: LmsThrottle, store: OperationalStore, secret_of: Resolve = resolve
    ) -> None:
        self.url = source.url
        self._token = secret_of(source.token)
        entry = FixedEntry(source.url, self._token, "source.token")
        # Filters are kept by the site for an account: whoever has the same token shares them.
        account = hashlib.sha256(f"{source.url} {entry.credential}".encode()).hexdigest()[:16]
        self.alone_with_reports = partial(store.alone, f"{account}.reports")
        gate = lms_gate(store, source.url, entry.credential, limit, at_once=source.concurrency)
        self._transport = Transport(
            source.url, gate, entry, check=raise_for_exception, connections=max(source.concurrency, 2)
        )

    @cached_property
    def site(self) -> Site:
        """Asked once."""
        return self._site(self.call(_SITE_INFO))

    def probe(self) -> Site:
        """The site, asked anew; a dead address is an error to mend."""
        form = self._form(_SITE_INFO, {})
        try:
            info = self._transport.probe("POST", _ENDPOINT, data=form).content
        except NotInServiceError as exc:
            raise self._explained(_SITE_INFO) from exc
        self.site = self._site(info)
        return self.site

    def call(self, function: str, parameters: Mapping[str, Any] | None = None, *, unpaged: bool = False) -> Any:
        """What a function gives, tried again when trouble passes; `unpaged`: it may take minutes."""
        options: dict[str, Any] = {"timeout": _UNPAGED} if unpaged else {}
        try:
            form = self._form(function, parameters or {})
            return self._transport.receive("POST", _ENDPOINT, data=form, **options).content
        except NotInServiceError as exc:
            raise self._explained(function) from exc

    def rows(self, function: str, parameters: Mapping[str, Any], *, member: str | None = None) -> list[dict[str, Any]]:
        """The objects of a function's answer, or of one member of it."""
        answer = self.call(function, parameters, unpaged=True)
        found = answer.get(member) if member is not None and isinstance(answer, dict) else answer
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise ProtocolError(
                f"{self.url} answers {function} without a list: check that it is a Moodle of 4.1 or newer"
            )
        return found

    def has(self, functions: Collection[str]) -> bool:
        """Whether the service has all of these functions."""
        return self.site.functions.issuperset(functions)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _explained(self, function: str) -> PermissionMissingError:
        """Why a function was refused; `CredentialError` when the token had expired, for which Moodle tells it once only."""
        try:
            info = self._transport.once("POST", _ENDPOINT, data=self._form(_SITE_INFO, {})).content
        except NotInServiceError:
            function, functions = _SITE_INFO, frozenset[str]()
        else:
            functions = self._site(info).functions
        if function in functions:
            return PermissionMissingError(f"{self.url} refuses {function}: the account of source.token may not call it")
        return PermissionMissingError(f"{self.url} refuses {function}: add it to the web service of source.token")

    def _site(self, info: Any) -> Site:
        try:
            return Site(int(info["userid"]), frozenset(item["name"] for item in info["functions"]))
        except (KeyError, TypeError, ValueError) as exc:
            raise ProtocolError(f"{self.url} answers, but not as a Moodle does: check source.url") from exc

    def _form(self, function: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "wstoken": self._token.get_secret_value(),
            "wsfunction": function,
            # Without it even errors are XML.
            "moodlewsrestformat": "json",
            # Without it texts come back HTML-escaped.
            "moodlewssettingraw": "true",
            **parameters,
        }
