"""Moodle's accounts: all of them, those that the users report says have changed, or some by id or username."""

import re
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import PermissionMissingError
from lms_crm_assets.lms.chunks import chunks
from lms_crm_assets.lms.moodle.client import Client
from lms_crm_assets.lms.moodle.reports import Report, since_filter
from lms_crm_assets.lms.protocol import Page

USERS_HEADERS = [
    "Username",
    "Email address",
    "ID number",
    "First name",
    "Last name",
    "Institution",
    "Suspended",
    "Time created",
    "Time modified",
    "Last access",
]
_ROWS_A_PAGE = 500
# Half a second of the site's time.
_KEYS_A_CALL = 100
_MD5 = re.compile(r"[0-9a-f]{32}")
_MANGLED = re.compile(r".*\.\d{9,11}", re.DOTALL)
_MANGLED_EMAIL = re.compile(r".*@.*\.\d{9,11}", re.DOTALL)

User = dict[str, Any]


class Learners:
    """The accounts of a site; `report` is the users report, where there is one."""

    def __init__(self, client: Client, report: Report | None) -> None:
        self._client = client
        self._report = report

    def all(self) -> Iterator[Page]:
        """Every account that is not deleted. They come in one answer: core services don't page them.

        `PermissionMissingError` where the token sees nobody but itself: that is how Moodle answers without permission.
        """
        criteria = {"criteria[0][key]": "email", "criteria[0][value]": "%"}
        users = self._client.rows("core_user_get_users", criteria, member="users")
        self._require_others(users)
        for some in chunks(users, _ROWS_A_PAGE):
            yield _page(some)

    def changed(self, since: datetime) -> Iterator[Page]:
        """Accounts modified at or after a moment; all of them where there is no users report."""
        if self._report is None:
            yield from self.all()
            return
        for rows in self._report.rows(since_filter("user:timemodified", int(since.timestamp()))):
            for some in chunks([row[self._report.person] for row in rows], _KEYS_A_CALL):
                yield _page(self.by("username", some))

    def fetch(self, keys: Collection[str]) -> Iterator[Page]:
        """Accounts by id; deleted those that Moodle has deleted or never had."""
        ids = sorted((key for key in set(keys) if key.isdecimal()), key=int)
        for some in chunks(ids, _KEYS_A_CALL):
            yield _page(self.by("id", some), some)
        if others := sorted(set(keys).difference(ids)):
            yield _page((), others)

    def usernames(self, ids: Collection[str]) -> dict[str, str]:
        """The usernames of living accounts by id."""
        found: dict[str, str] = {}
        for some in chunks(sorted(ids, key=int), _KEYS_A_CALL):
            found |= {str(user["id"]): user["username"] for user in self.by("id", some) if not is_mangled(user)}
        return found

    def by(self, field: str, values: Collection[str]) -> list[User]:
        """The accounts, deleted ones too, whose `id` or `username` is among the values."""
        asked = {f"values[{n}]": value for n, value in enumerate(values)}
        return self._client.rows("core_user_get_users_by_field", {"field": field, **asked}) if asked else []

    def require_others(self) -> None:
        """That the account sees others than itself, told by accounts that every site has: guest and admin."""
        self._require_others(self.by("id", [str(n) for n in range(1, 6)]))

    def _require_others(self, users: Collection[User]) -> None:
        if all(user.get("id") == self._client.site.account for user in users):
            raise PermissionMissingError(
                f"{self._client.url}: the account of source.token sees no user but itself: give its role"
                " moodle/user:viewdetails and moodle/user:viewalldetails in the system context"
            )


def is_mangled(user: User) -> bool:
    """Whether an account is deleted: Moodle then sets its e-mail to an MD5 and its username to `<e-mail>.<epoch>`.

    The e-mail may be hidden from the token, as far as the account's settings and the role let it.
    """
    email, username = str(user.get("email") or ""), str(user.get("username") or "")
    if not email:
        return _MANGLED_EMAIL.fullmatch(username) is not None
    return _MD5.fullmatch(email) is not None and _MANGLED.fullmatch(username) is not None


def _page(users: Collection[User], asked: Collection[str] = ()) -> Page:
    """The accounts as records, and as deleted those of `asked` that are not among them."""
    records = [_record(user) for user in users]
    gone = sorted(set(asked).difference(record.source_id for record in records))
    return Page(LmsEntity.LEARNERS, [*records, *(RawRecord(key, None, is_deleted=True) for key in gone)])


def _record(user: User) -> RawRecord:
    """A mangled account's names are kept from the warehouse: they would reach the CRM in place of the person's."""
    key = str(user.get("id"))
    return RawRecord(key, None, is_deleted=True) if is_mangled(user) else RawRecord(key, user)
