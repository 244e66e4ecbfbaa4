"""Making a recording: the adapters' own reads of both sides, written down exchange by exchange.

A file holds one exchange, scrubbed: `request` with method, path, query and body, `response` with status, headers and body.
The files are numbered in the order of the answers.
"""

import re
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from lms_crm_assets.contract.credentials import references
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.crm.adapters import crm_adapter
from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.errors import CredentialError, FatalError
from lms_crm_assets.exchanges import Exchange, listening
from lms_crm_assets.lms.adapters import lms_adapter
from lms_crm_assets.lms.protocol import LmsAdapter
from lms_crm_assets.ops.secrets import secrets_of
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.recording.pseudonyms import Pseudonyms
from lms_crm_assets.recording.scrubbing import Scrubber, kept_words

_KEY_BYTES = 32
_NAME_CHARACTERS = 60
_SECRET_FROM_CHARACTERS = 6


@dataclass
class Recorded:
    """What was recorded: exchanges by side, records of the LMS by entity, objects that the CRM described."""

    exchanges: Counter[str] = field(default_factory=Counter)
    records: Counter[LmsEntity] = field(default_factory=Counter)
    objects: list[str] = field(default_factory=list)


def record(contract: Contract, store: OperationalStore, folder: Path, *, pages: int) -> Recorded:
    """Record the probe and the first `pages` pages of each entity of the LMS, and the CRM's definitions, into `folder`.

    Nothing is written to the CRM. `FatalError` when the folder is not empty; when anything fails, nothing is left in it.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FatalError(f"{folder} is not an empty folder: name another one with --out")
    beside = folder.with_name(f".{folder.name}.unfinished-{secrets.token_hex(4)}")
    beside.mkdir(parents=True)
    try:
        files = _Files(beside, _scrubber(contract), _secrets(contract, store))
        with listening(files.take):
            recorded = Recorded()
            _record_lms(contract, store, pages, recorded)
            _record_crm(contract, store, recorded)
        recorded.exchanges = files.written
        beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return recorded


class _Files:
    """The files of a recording."""

    def __init__(self, folder: Path, scrubber: Scrubber, known_secrets: list[str]) -> None:
        self.written: Counter[str] = Counter()
        self._folder, self._scrubber, self._secrets = folder, scrubber, known_secrets

    def take(self, exchange: Exchange) -> None:
        """Write one exchange; `FatalError` when a secret of the contract came through in spite of all."""
        told = self._scrubber.scrubbed(exchange)
        content = orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        if any(secret.encode() in content for secret in self._secrets):
            raise FatalError("an answer repeats a credential of the contract: nothing is recorded")
        number = self.written.total() + 1
        self.written[exchange.side] += 1
        (self._folder / f"{number:04d}-{exchange.side}-{_name(told['request'])}.json").write_bytes(content)


def _record_lms(contract: Contract, store: OperationalStore, pages: int, recorded: Recorded) -> None:
    with _lms(contract, store) as lms:
        lms.probe()
        for entity in LmsEntity:
            if entity in lms.capabilities.entities:
                recorded.records[entity] = _first(lms, entity, pages)


def _first(lms: LmsAdapter, entity: LmsEntity, pages: int) -> int:
    """Read so many pages that have records; how many records these were."""
    count, left = 0, pages
    with closing(lms.pull([entity], None)) as found:  # type: ignore[type-var]  # adapters pull by generators
        for page in found:
            if page.entity is not entity or not page.records:
                continue
            if not left:
                # One more, so that whoever replays it may read ahead.
                break
            left -= 1
            count += len(page.records)
    return count


@contextmanager
def _lms(contract: Contract, store: OperationalStore) -> Iterator[LmsAdapter]:
    """The LMS's adapter, one call at a time: in the order in which it is replayed."""
    one_by_one: dict[str, Any] = {"concurrency": 1} if hasattr(contract.source, "concurrency") else {}
    source = contract.source.model_copy(update=one_by_one)
    lms = lms_adapter(contract.model_copy(update={"source": source}), store)
    try:
        yield lms
    finally:
        lms.close()


def _record_crm(contract: Contract, store: OperationalStore, recorded: Recorded) -> None:
    crm = crm_adapter(contract, store)
    try:
        crm.probe()
        for obj in contract.in_order():
            spec = object_spec(contract, obj)
            if crm.discover(spec.to, [parent.to for parent in spec.parents.values()]) is not None:
                recorded.objects.append(spec.to)
    finally:
        crm.close()


def _scrubber(contract: Contract) -> Scrubber:
    """With a key that is forgotten at the end."""
    kept = kept_words(contract.model_dump(mode="json", by_alias=True))
    return Scrubber(Pseudonyms(secrets.token_bytes(_KEY_BYTES)), kept)


def _secrets(contract: Contract, store: OperationalStore) -> list[str]:
    """The credentials that the contract refers to, as far as they are there and long enough to be told from words."""
    found, secret_of = [], secrets_of(contract.tenant, store)
    for _, ref in references(contract.model_dump(mode="json", by_alias=True)):
        with suppress(CredentialError):
            found.append(secret_of(ref).get_secret_value())
    return [secret for secret in found if len(secret) >= _SECRET_FROM_CHARACTERS]


def _name(request: dict[str, Any]) -> str:
    """A request as part of a file's name: of Moodle's, which all have one path, the function."""
    said = dict(request["body"]).get("wsfunction") if isinstance(request.get("body"), list) else None
    text = f"{request['method']}-{said or request['path']}"
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-")[:_NAME_CHARACTERS]
