"""Standard Webhooks (https://www.standardwebhooks.com), about one row or many, as the changes contract describes them."""

import base64
import binascii
import hashlib
import hmac

import orjson

from lms_crm_assets.sandbox.errors import SandboxRequestError

from .subscription import Subscription
from .voice import Delivery, Wording

_PREFIX = "whsec_"
_USER_AGENT = "sandbox-school/1.0"


class StandardVoice:
    """Each change alone unless the subscription wants more together; ids stay the same when a delivery is repeated."""

    events_together = 1
    most_together = 1_000
    # From a fifth of a second up to half a minute apart: three minutes in all, for the five days that the real ones try.
    tries = 12
    tells_source = False

    def check(self, subscription: Subscription) -> None:
        """The secret is base64, with or without `whsec_`."""
        try:
            _key(subscription.secret)
        except (binascii.Error, ValueError) as exc:
            raise SandboxRequestError("secret has to be base64, with or without whsec_") from exc

    def words(self, subscription: Subscription, delivery: Delivery, at: float) -> Wording:
        """Signed anew for each attempt, as its time is signed too."""
        body = _body(delivery)
        timestamp = str(int(at))
        signed = f"{delivery.id}.{timestamp}.".encode() + body
        signature = base64.b64encode(hmac.digest(_key(subscription.secret), signed, hashlib.sha256)).decode()
        headers = {
            "content-type": "application/json",
            "user-agent": _USER_AGENT,
            "webhook-id": delivery.id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{signature}",
        }
        return Wording(body, headers)


def _body(delivery: Delivery) -> bytes:
    if len(delivery.events) == 1:
        return delivery.events[0]
    events = [orjson.loads(text) for text in delivery.events]
    newest = max(event["timestamp"] for event in events)
    return orjson.dumps(
        {"type": "changes", "timestamp": newest, "data": {"items": [event["data"] for event in events]}}
    )


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
