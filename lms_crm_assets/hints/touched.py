"""Which sender's words a delivery is in."""

from collections.abc import Iterator
from typing import Any

import orjson

from lms_crm_assets.contract.models import CanvasSource, Contract, MoodleSource, ThinkificSource
from lms_crm_assets.hints import canvas, changes, hubspot, moodle, moodle_xapi, salesforce, thinkific
from lms_crm_assets.hints.found import BATCH, UNREADABLE, Finding, Hints, elements, gathered, lacking, member


def touched(contract: Contract, side: str, content_type: str, body: bytes) -> Hints:
    """What a delivery of a side, `lms` or `crm`, touches.

    It was verified before; all that is in it is doubted nevertheless.
    """
    return gathered(_of_lms(contract, content_type, body) if side == "lms" else _of_crm(contract, body))


def _of_lms(contract: Contract, content_type: str, body: bytes) -> Iterator[Finding]:
    source = contract.source
    if isinstance(source, CanvasSource):
        body = canvas.claims(body) or body
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        yield lacking(UNREADABLE, "json")
        return
    if content_type.partition(";")[0].strip().lower() == BATCH:
        yield from changes.batch(told)
        return
    for each in elements(told):
        if changes.is_envelope(each):
            # Whatever the LMS is: a middleware before it may send them.
            yield from changes.envelope(each)
        elif isinstance(source, MoodleSource):
            yield from _of_moodle(source, each)
        elif isinstance(source, CanvasSource):
            yield from canvas.live_event(source, each)
        elif isinstance(source, ThinkificSource):
            yield from thinkific.event(each)
        else:
            yield from changes.envelope(each)


def _of_moodle(source: MoodleSource, told: Any) -> Iterator[Finding]:
    read = moodle.plugin_event if member(told, "eventname") is not None else moodle_xapi.statement
    yield from read(source, told)


def _of_crm(contract: Contract, body: bytes) -> Iterator[Finding]:
    of_salesforce = contract.destination.adapter == "salesforce"
    if of_salesforce and body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        yield from salesforce.outbound(contract, body)
        return
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        yield lacking(UNREADABLE, "json")
        return
    read = salesforce.callout if of_salesforce else hubspot.event
    for each in elements(told):
        yield from read(contract, each)
