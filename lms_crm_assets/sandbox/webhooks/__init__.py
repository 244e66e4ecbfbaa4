"""Webhooks that a simulated system sends when its records change: at least once, in no promised order, some never."""

from .courier import Courier
from .subscription import Subscription
from .voice import Announcing, Delivery, Event, Listener, Voice, Wording

__all__ = ["Announcing", "Courier", "Delivery", "Event", "Listener", "Subscription", "Voice", "Wording"]
