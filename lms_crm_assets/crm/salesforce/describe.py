"""Descriptions of objects, kept between runs: one that did not change is told in 304 and no words.

Owns the table `described` of the operational store. A description is what one user may see, so it is kept by
credential.
"""

import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson
import requests
from simple_salesforce.api import Salesforce
from simple_salesforce.exceptions import SalesforceGeneralError, SalesforceResourceNotFound

from lms_crm_assets import exchanges
from lms_crm_assets.crm.salesforce.answers import UnreadableError
from lms_crm_assets.crm.salesforce.org import Org, send
from lms_crm_assets.ops.store import OperationalStore


def describe(org: Org, store: OperationalStore, to: str) -> Mapping[str, Any] | None:
    """What the org tells of an object (REST guide, sObject Describe), None when it has none of that name."""
    name = f"{org.name} {org.version}"
    kept = store.read("SELECT modified, body FROM described WHERE name = ? AND object = ?", (name, to))
    # A recording is of the description, not of the news that it is the old one.
    modified, body = kept[0] if kept and not exchanges.heard() else (None, b"")

    def ask(sf: Salesforce) -> tuple[str | None, bytes] | None:
        headers = {"If-Modified-Since": modified} if modified else {}
        try:
            response = send(sf, "GET", f"sobjects/{quote(to, safe='')}/describe", headers=headers)
        except SalesforceResourceNotFound:
            return None
        except SalesforceGeneralError as exc:
            if exc.status == requests.codes.not_modified and modified:
                return modified, zlib.decompress(body)
            raise
        _parsed(response.content)
        return response.headers.get("Last-Modified"), response.content

    told = org.read(ask)
    if told is None:
        return None
    if told[0] and told[0] != modified:
        with store.transaction(on=name) as run:
            run(
                "INSERT INTO described (name, object, modified, body) VALUES (?, ?, ?, ?) ON CONFLICT (name, object)"
                " DO UPDATE SET modified = excluded.modified, body = excluded.body",
                (name, to, told[0], zlib.compress(told[1])),
            )
    return _parsed(told[1])


def _parsed(body: bytes) -> Mapping[str, Any]:
    """The description; `UnreadableError` when it is none."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise UnreadableError from exc
    match answer:
        case {"name": str(), "fields": list()}:
            return dict(answer)
    raise UnreadableError
