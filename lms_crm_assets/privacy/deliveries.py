"""Taking one learner's deliveries out of the inbox; of a delivery about several people only their part goes."""

from collections.abc import Iterator
from typing import Any

import orjson

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.hints import BATCH, touched
from lms_crm_assets.ops.inbox import Event, Inbox
from lms_crm_assets.privacy.person import Person


def erase_deliveries(inbox: Inbox, contract: Contract, person: Person, *, dry_run: bool) -> int:
    """Take away what was delivered of the learner, whatever became of it; gives how many deliveries it was in.

    What is left of a delivery about others stays, with its state: a change that is lost on the way costs time, the next pull
    finds it.
    """
    number = 0
    for event, left in _theirs(inbox, contract, person):
        number += 1
        if not dry_run:
            inbox.erase(event, left)
    return number


def _theirs(inbox: Inbox, contract: Contract, person: Person) -> Iterator[tuple[Event, bytes | None]]:
    words = person.words()
    for event in inbox.find(contract.tenant):
        if _is_of(contract, event, event.body, person, words):
            yield event, _without(contract, event, person, words)


def _is_of(contract: Contract, event: Event, body: bytes, person: Person, words: list[bytes]) -> bool:
    lowered = body.lower()
    if any(word in lowered for word in words):
        return True
    hints = touched(contract, event.side.value, event.content_type, body)
    return (
        any(key in person.keys.get(entity, ()) for entity, key in hints.lms)
        or any(key in person.crm_ids.get(obj, ()) for obj, key in hints.crm)
        or any(lead.value.casefold() in person.names for lead in hints.leads)
    )


def _without(contract: Contract, event: Event, person: Person, words: list[bytes]) -> bytes | None:
    """The body without the learner's elements; None where nothing else is in it."""
    try:
        told = orjson.loads(event.body)
    except orjson.JSONDecodeError:
        return None
    is_batch = event.content_type == BATCH and isinstance(told, dict) and isinstance(told.get("items"), list)

    def stays(element: Any) -> bool:
        part = {**told, "items": [element]} if is_batch else [element]
        return not _is_of(contract, event, orjson.dumps(part), person, words)

    elements = told["items"] if is_batch else told
    if not isinstance(elements, list) or not (left := [each for each in elements if stays(each)]):
        return None
    return orjson.dumps({**told, "items": left} if is_batch else left)
