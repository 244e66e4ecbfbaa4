"""The adapter of Thinkific: users, courses and enrollments; an enrollment tells the completion too."""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from lms_crm_assets.contract.credentials import Resolve, resolve
from lms_crm_assets.contract.models import LmsThrottle, ThinkificSource
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.errors import MissingError, PermissionMissingError, ProtocolError, WrongAddressError
from lms_crm_assets.lms.chunks import chunks
from lms_crm_assets.lms.entry import FixedEntry
from lms_crm_assets.lms.protocol import Capabilities, Page
from lms_crm_assets.lms.rows import by_id, newest
from lms_crm_assets.lms.streams import merged
from lms_crm_assets.lms.thinkific.listing import ROOT, Listing
from lms_crm_assets.lms.transport import Transport, lms_gate
from lms_crm_assets.ops.store import OperationalStore

# Thinkific allows 120 calls a minute; the others are for people who ask beside us.
_OWN_LIMIT = (118, 60.0)
_KEYS_A_STREAM = 20
_PATHS = {
    LmsEntity.LEARNERS: "users",
    LmsEntity.COURSES: "courses",
    LmsEntity.ENROLLMENTS: "enrollments",
    LmsEntity.COMPLETIONS: "enrollments",
}
# Only enrollments can be asked for by the time of their last change.
_OF_ENROLLMENTS = frozenset({LmsEntity.ENROLLMENTS, LmsEntity.COMPLETIONS})


class ThinkificAdapter:
    """One Thinkific site."""

    capabilities = Capabilities(entities=frozenset(_PATHS), supports_since=_OF_ENROLLMENTS)

    def __init__(
        self, source: ThinkificSource, limit: LmsThrottle, store: OperationalStore, secret_of: Resolve = resolve
    ) -> None:
        self._source = source
        entry = _entry(source, secret_of)
        gate = lms_gate(store, source.url, entry.credential, limit, own=_OWN_LIMIT, at_once=source.concurrency)
        self._transport = Transport(source.url, gate, entry, connections=source.concurrency)

    def probe(self) -> list[str]:
        """Ask for the first row of each listing."""
        unseen = {}
        for path in ("users", "courses", "enrollments"):
            try:
                found = self._transport.probe("GET", f"{ROOT}/{path}", params={"page": 1, "limit": 1}).content
            except PermissionMissingError as exc:
                unseen[path] = exc
                continue
            if not isinstance(found, dict) or "items" not in found:
                raise WrongAddressError(f"{self._source.url} answers, but not as Thinkific does: check source.url")
        if len(unseen) == len(set(_PATHS.values())):
            raise PermissionMissingError(
                f"{self._source.url} lets the credential read nothing: {unseen['users']}; see docs/thinkific.md"
            )
        return [f"the credential may not read {path}: see docs/thinkific.md for what it needs" for path in unseen]

    def pull(self, entities: Collection[LmsEntity], since: datetime | None) -> Iterator[Page]:
        """The listings; of enrollments those changed at or after `since` less the configured overlap."""
        for entity in (LmsEntity.LEARNERS, LmsEntity.COURSES):
            if entity in entities:
                yield from self._listing(_PATHS[entity], [entity], {}, whole=True)
        wanted = [entity for entity in LmsEntity if entity in _OF_ENROLLMENTS.intersection(entities)]
        if wanted:
            query = {} if since is None else {"query[updated_after]": self._stamp(since)}
            yield from self._listing("enrollments", wanted, query, whole=since is None)

    def fetch(self, entity: LmsEntity, keys: Collection[str]) -> Iterator[Page]:
        """Rows by their ids, one a call, after the first row of their listing."""
        if entity not in _PATHS:
            yield Page(entity, [RawRecord(key, None, is_deleted=True) for key in sorted(set(keys))])
            return
        # Where the listing isn't to be had, a row that isn't there says nothing.
        next(iter(Listing(self._transport, _PATHS[entity], {}, 1, 1).parts()))
        some = chunks(sorted(set(keys)), _KEYS_A_STREAM)
        yield from merged((self._each(entity, asked) for asked in some), self._source.concurrency)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _stamp(self, since: datetime) -> str:
        return f"{since.astimezone(UTC) - timedelta(seconds=self._source.overlap_seconds):%Y-%m-%dT%H:%M:%SZ}"

    def _listing(
        self, path: str, entities: Collection[LmsEntity], query: Mapping[str, Any], *, whole: bool
    ) -> Iterator[Page]:
        listing = Listing(self._transport, path, query, self._source.page_size, self._source.concurrency)
        row = 0
        for part in listing.parts():
            # The part without rows tells how many there are; of changes there are more in all.
            total = part.total if whole and not part.items else None
            found = by_id(part.items, row)
            row += len(found)
            for entity in entities:
                yield Page(entity, found, newest(part.items, "updated_at"), total)

    def _each(self, entity: LmsEntity, keys: Collection[str]) -> Iterator[Page]:
        for key in keys:
            found = self._found(f"{_PATHS[entity]}/{key}") if key.isdecimal() else None
            yield Page(entity, [RawRecord(key, found, is_deleted=found is None)])

    def _found(self, path: str) -> Any:
        try:
            found = self._transport.get(f"{ROOT}/{path}")
        except MissingError:
            return None
        if not isinstance(found, dict) or str(found.get("id")) != path.rpartition("/")[2]:
            raise ProtocolError(f"{self._source.url}{ROOT}/{path} answers with something else than what was asked for")
        return found


def _entry(source: ThinkificSource, secret_of: Resolve) -> FixedEntry:
    if source.flow == "token":
        return FixedEntry.bearer(source.url, secret_of(source.token or ""), "source.token")
    key = secret_of(source.api_key or "")
    headers = {"X-Auth-API-Key": key.get_secret_value(), "X-Auth-Subdomain": source.subdomain or ""}
    return FixedEntry(source.url, key, "source.subdomain and source.api_key", headers)
