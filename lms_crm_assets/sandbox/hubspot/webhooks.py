"""The portal's change events as HubSpot's webhooks tell them (HubSpot documentation, "Webhooks API").

A delivery is a list of up to a hundred events of any objects, with the v3 signature over method, address, body and a
timestamp in milliseconds. Of a created record the creation is told, not each of its values; of a merge only that.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import orjson

from lms_crm_assets.sandbox.hubspot.errors import PORTAL_ID
from lms_crm_assets.sandbox.hubspot.schema import AssociationType
from lms_crm_assets.sandbox.hubspot.table import Record, Table, now_ms
from lms_crm_assets.sandbox.webhooks import Delivery, Listener, Subscription, Wording

APP_ID = 1234567
BY_A_PERSON, BY_AN_APP = "CRM_UI", "INTEGRATION"
# What HubSpot has subscriptions of its own for; all else is `object`, with its type's id.
_NAMED = {"0-1": "contact", "0-2": "company"}
_SUBSCRIPTIONS = {
    kind: 2_000_001 + number
    for number, kind in enumerate(("creation", "propertyChange", "deletion", "restore", "merge", "associationChange"))
}


class Happenings:
    """Tells whoever listens what happens in a store, and who made it."""

    def __init__(self) -> None:
        self.listener: Listener | None = None
        self._source = BY_AN_APP
        self._silent = False
        self._numbers = count(now_ms() % 10**9)

    @contextmanager
    def by_a_person(self) -> Iterator[None]:
        """What happens meanwhile is a person's doing, not an app's."""
        self._source = BY_A_PERSON
        try:
            yield
        finally:
            self._source = BY_AN_APP

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """What happens meanwhile is told by another event afterwards."""
        self._silent = True
        try:
            yield
        finally:
            self._silent = False

    def created(self, table: Table, record: Record) -> None:
        """A record came to be."""
        self._tell("creation", table.type.type_id, objectId=record.id, changeFlag="CREATED")

    def updated(self, table: Table, record: Record, changed: Mapping[str, str]) -> None:
        """One event a property."""
        for name, text in changed.items():
            about = {"propertyName": name, "propertyValue": text, "isSensitive": False}
            self._tell("propertyChange", table.type.type_id, objectId=record.id, **about)

    def archived(self, table: Table, record: Record) -> None:
        """A record was put into the bin."""
        self._tell("deletion", table.type.type_id, objectId=record.id, changeFlag="DELETED")

    def restored(self, table: Table, record: Record) -> None:
        """A record was brought back."""
        self._tell("restore", table.type.type_id, objectId=record.id, changeFlag="RESTORED")

    def merged(self, table: Table, loser: Record, winner: Record) -> None:
        """A record was folded into another, which keeps its id here."""
        about = {"primaryObjectId": winner.id, "mergedObjectIds": [loser.id], "newObjectId": winner.id}
        self._tell("merge", table.type.type_id, objectId=winner.id, **about)

    def linked(
        self, pair: tuple[str, str], from_id: int, to_id: int, kind: AssociationType, *, removed: bool = False
    ) -> None:
        """Two records were linked, or are no more."""
        self._tell(
            "associationChange",
            pair[0],
            fromObjectId=from_id,
            toObjectId=to_id,
            fromObjectTypeId=pair[0],
            toObjectTypeId=pair[1],
            associationTypeId=kind.type_id,
            associationCategory=kind.category,
            associationRemoved=removed,
            isPrimaryAssociation=False,
        )

    def _tell(self, kind: str, type_id: str, **about: Any) -> None:
        if self.listener is None or self._silent:
            return
        self.listener(
            {
                "eventId": next(self._numbers),
                "subscriptionId": _SUBSCRIPTIONS[kind],
                "portalId": PORTAL_ID,
                "appId": APP_ID,
                "occurredAt": now_ms(),
                "subscriptionType": f"{_NAMED.get(type_id, 'object')}.{kind}",
                "objectTypeId": type_id,
                "changeSource": self._source,
                **about,
            }
        )


class HubSpotVoice:
    """Up to a hundred events a delivery, sent eleven times at most; each attempt has a number and a signature of its own."""

    events_together = most_together = 100
    tries = 11
    tells_source = True

    def check(self, subscription: Subscription) -> None:
        """Any text is a client secret."""

    def words(self, subscription: Subscription, delivery: Delivery, at: float) -> Wording:
        """Signed for the address as it was given."""
        events = [{**orjson.loads(text), "attemptNumber": delivery.attempt} for text in delivery.events]
        body, timestamp = orjson.dumps(events), str(int(at * 1000))
        signed = b"POST" + subscription.url.encode() + body + timestamp.encode()
        digest = hmac.digest(subscription.secret.encode(), signed, hashlib.sha256)
        headers = {
            "content-type": "application/json",
            "user-agent": "HubSpot Connect 2.0 (http://dev.hubspot.com/) - WebHooks",
            "x-hubspot-request-timestamp": timestamp,
            "x-hubspot-signature-v3": base64.b64encode(digest).decode(),
        }
        return Wording(body, headers)
