"""What of an exchange may be kept. By default nothing: a text stays only where it is known to be none of anybody's.

What stays: names of fields; words of the protocols under keys that name kinds and states; the words that the staging
knows; numbers that are no ids; in definitions of a CRM's fields the API names and types.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import orjson

from lms_crm_assets.exchanges import Exchange
from lms_crm_assets.recording.pseudonyms import Pseudonyms

HOSTS = {"lms": "https://lms.example", "crm": "https://crm.example"}
"""What stands for the two systems' own addresses."""

_HEADERS = re.compile(
    r"content-type|link|x-total-count|retry-after|last-modified|sforce-limit-info|x-rate-limit-\w+|x-hubspot-ratelimit-.+",
    re.IGNORECASE,
)
# Under these keys stand words of the protocol.
_ENUMERATIONS = re.compile(
    "type|kind|status|state|(enrollment|workflow|completion)_state|scorestatus|role|roles|op|entity|entities|format"
    "|summaryformat|descriptionformat|modname|component|module|itemtype|itemmodule|grading_type|calculation_method"
    "|errorcode|warningcode|exception|error|category|enrolmethod|method|wsfunction|moodlewsrestformat|moodlewssettingraw"
    "|field|key|sort|order|orderby|sortby|userfields|include|exclude_response_fields|student_ids|fields"
)
# In an answer no digits and dots, which somebody's login may have; in a request of ours whole lists of fields.
_WORD = re.compile(r"[A-Za-z][A-Za-z_-]{0,60}", re.ASCII)
_WORDS_OF_OURS = re.compile(r"[A-Za-z][\w.,:-]{0,200}", re.ASCII)
_FUNCTION = re.compile(r"(core|mod|report|gradereport|tool|enrol|local|message|block|auth)_[a-z0-9_]+")
_RELEASE = re.compile(r"\d[\d.]*\+?( \(Build: \d+\))?")
_FIELD = re.compile(r"[A-Za-z_$@][\w.$:/-]{0,80}", re.ASCII)
_SECRET = re.compile(r"token|secret|password|api_?key|sesskey|privateaccesskey|assertion", re.IGNORECASE)
_PATH_WORD = re.compile(r"[A-Za-z_.-]+|v\d+(p\d+)?", re.ASCII)
_COUNTS = re.compile(r"total|count|size|page|limit|offset|max|remaining|bytes", re.IGNORECASE)
_LONG_NUMBER = 100_000
# Figures that are somebody's: never a grade, whatever they look like.
_OF_A_PERSON = re.compile(r"phone|mobile|fax|postal|zip|ssn|social|passport|tax", re.IGNORECASE)
_MARKS = re.compile(r"grade|score|percent|points|progress|rating|weight|mark", re.IGNORECASE)
# Moodle's parameters in pairs, and those that are no numbers of anything.
_NAMES = ("[name]", "[key]")
_SWITCHES = frozenset({"onlyactive", "onlysuspended", "segment", "segments"})

# Definitions of a CRM: what is named by its API name, and where words for people stand.
_DEFINITIONS = re.compile(r"/(describe|properties|schemas|labels|enablement)\b")
_API_NAME = re.compile(r"[\w.:-]{1,100}", re.ASCII)
_CODE_WORD = re.compile(r"[a-z][a-z0-9_]{0,60}", re.ASCII)
_FOR_PEOPLE = re.compile(
    r"label|description|help|default|user|email|url|mask|owner|portal|title|plural|singular", re.IGNORECASE
)


class Scrubber:
    """Scrubs the exchanges of one recording, so that what was equal stays equal in all of them."""

    def __init__(self, pseudonyms: Pseudonyms, kept: frozenset[str]) -> None:
        """`kept`: texts of the contract that stay in definitions, which name the same fields."""
        self._pseudonyms = pseudonyms
        self._kept = kept

    def scrubbed(self, exchange: Exchange) -> dict[str, Any]:
        """The exchange as it may be kept: `request` and `response`, JSON-able."""
        path, query = self._address(exchange)
        request: dict[str, Any] = {"method": exchange.method, "path": path}
        if query:
            request["query"] = query
        if exchange.sent:
            request["body"] = self._sent(exchange)
        headers = {
            name.title(): self._header(exchange, name, value)
            for name, value in exchange.headers.items()
            if _HEADERS.fullmatch(name)
        }
        return {
            "request": request,
            "response": {"status": exchange.status, "headers": headers, "body": self._body(exchange)},
        }

    def _address(self, exchange: Exchange, url: str | None = None) -> tuple[str, list[list[str]]]:
        """Path and query of a request to one of the systems."""
        parts = urlsplit(exchange.url if url is None else url)
        path = parts.path if exchange.side == "crm" else self._path(parts.path)
        return path, self._pairs(parse_qsl(parts.query, keep_blank_values=True))

    def _path(self, path: str) -> str:
        segments = [unquote(segment) for segment in path.split("/")]
        return "/".join(
            segment
            if not segment or _PATH_WORD.fullmatch(segment) or before == "accounts"
            else quote(self._pseudonyms.text(segment), safe="@")
            for before, segment in zip(["", *segments], segments, strict=False)
        )

    def _pairs(self, pairs: list[tuple[str, str]]) -> list[list[str]]:
        """A query or a form without its secrets; Moodle's `options[0][value]` is of the kind that its `[name]` says."""
        names = {_place(key): value for key, value in pairs if key.endswith(_NAMES)}
        field = dict(pairs).get("field", "")
        kept = []
        for key, value in pairs:
            if _SECRET.search(_bare(key)):
                continue
            if key.endswith(_NAMES):
                kept.append([key, value])
                continue
            kind = field if _bare(key) in {"value", "values"} else names.get(_place(key), key)
            kept.append([key, self._parameter(_bare(kind), value)])
        return kept

    def _parameter(self, name: str, value: str) -> str:
        if value[:1] in {"{", "["}:
            try:
                return orjson.dumps(self._value(orjson.loads(value), name)).decode()
            except orjson.JSONDecodeError:
                return self._pseudonyms.text(value)
        if name == "reportid" or (value.isdecimal() and (name in _SWITCHES or _COUNTS.search(name))):
            return value
        if _ENUMERATIONS.fullmatch(name) and _WORDS_OF_OURS.fullmatch(value):
            return value
        return self._pseudonyms.text(value)

    def _sent(self, exchange: Exchange) -> Any:
        if exchange.media.startswith("application/x-www-form-urlencoded"):
            return self._pairs(parse_qsl(exchange.sent.decode(errors="replace"), keep_blank_values=True))
        return self._content(exchange.sent, exchange.media)

    def _body(self, exchange: Exchange) -> Any:
        media = next((value for name, value in exchange.headers.items() if name.lower() == "content-type"), "")
        if exchange.side == "crm" and _DEFINITIONS.search(urlsplit(exchange.url).path):
            return self._content(exchange.body, media, self._defined)
        return self._content(exchange.body, media)

    def _content(self, body: bytes, media: str, leaf: "Leaf | None" = None) -> Any:
        """A body as JSON; a CSV's rows as lists; of anything else its size alone."""
        if not body:
            return None
        try:
            return self._value(orjson.loads(body), "", leaf)
        except orjson.JSONDecodeError:
            if media.startswith("text/csv"):
                return self._csv(body.decode(errors="replace"))
        return {"left out": f"{len(body)} bytes that are neither JSON nor CSV"}

    def _csv(self, text: str) -> list[list[str]]:
        header, *rows = list(csv.reader(io.StringIO(text, newline="")))
        scrubbed = ([self._text(cell, key) for key, cell in zip(header, row, strict=False)] for row in rows)
        return [header, *scrubbed]

    def _value(self, value: Any, key: str, leaf: "Leaf | None" = None) -> Any:
        """A JSON value; `key` is that of the member which it is, or in whose list it stands."""
        match value:
            case dict():
                return {
                    self._field(name): self._value(each, name, leaf)
                    for name, each in value.items()
                    if not (_SECRET.search(name) and isinstance(each, str) and len(each) >= len("secret"))
                }
            case list():
                return [self._value(each, key, leaf) for each in value]
            case str():
                return (leaf or self._text)(value, key)
            case bool() | None | float():
                return value
            case int() if leaf is None or _FOR_PEOPLE.search(key):
                return self._number(value, key.lower())
        return value

    def _field(self, name: str) -> str:
        """A member's name: a field's, unless it is somebody's."""
        return name if _FIELD.fullmatch(name) and "@" not in name[1:] else self._pseudonyms.text(name)

    def _number(self, value: int, key: str) -> int:
        if _names_an_id(key) or _OF_A_PERSON.search(key):
            return self._pseudonyms.number(value)
        moment = self._pseudonyms.moment(value)
        if moment is not None:
            return moment
        return value if abs(value) < _LONG_NUMBER or _COUNTS.search(key) else self._pseudonyms.number(abs(value))

    def _text(self, value: str, key: str) -> str:
        """A text of an answer; one that is JSON itself is scrubbed as such."""
        key = key.lower()
        if _OF_A_PERSON.search(key):
            return self._pseudonyms.opaque(value)
        if value in words() or key == "headers":
            return value
        if _ENUMERATIONS.fullmatch(key) and _WORD.fullmatch(value):
            return value
        if (key == "name" and _FUNCTION.fullmatch(value)) or (
            key in {"release", "version"} and _RELEASE.fullmatch(value)
        ):
            return value
        if _MARKS.search(key) and value.isdecimal() and int(value) < _LONG_NUMBER:
            return value
        if value[:1] in {"{", "["}:
            with suppress(orjson.JSONDecodeError):
                return orjson.dumps(self._value(orjson.loads(value), key)).decode()
        return self._pseudonyms.text(value)

    def _defined(self, value: str, key: str) -> str:
        """A text of a definition: API names and types stay, what is written for people and by people does not."""
        if value in self._kept or not value:
            return value
        if key == "value":
            return value if _CODE_WORD.fullmatch(value) else self._pseudonyms.text(value)
        if _FOR_PEOPLE.search(key) or not _API_NAME.fullmatch(value) or key.endswith("At"):
            return self._pseudonyms.text(value)
        return value

    def _header(self, exchange: Exchange, name: str, value: str) -> str:
        if name.lower() != "link":
            return value

        def moved(found: re.Match[str]) -> str:
            path, query = self._address(exchange, found[1])
            return f"<{HOSTS[exchange.side]}{path}{'?' + urlencode([(name, each) for name, each in query]) if query else ''}>"

        return re.sub(r"<([^>]*)>", moved, value)


Leaf = Callable[[str, str], str]


@cache
def words() -> frozenset[str]:
    """The words by which the staging tells states and roles apart: every text that its SQL compares with."""
    return frozenset(_words(Path(__file__).parents[1] / "staging"))


def _words(folder: Path) -> Iterator[str]:
    for file in folder.glob("*/*.sql"):
        for found in re.findall(r"'([^'\n]+)'", file.read_text(encoding="utf-8")):
            if re.fullmatch(r"[A-Za-z]+([ _][A-Za-z]+)*", found):
                yield found


def _bare(key: str) -> str:
    """A parameter's name without its places: `values[0]` is `values`."""
    return key.partition("[")[0].lower()


def _place(key: str) -> str:
    """Of `options[0][name]` what it has in common with `options[0][value]`."""
    return key.rpartition("[")[0] or key


def _names_an_id(key: str) -> bool:
    return key.lower().endswith(("id", "ids", "idnumber"))


def kept_words(contract: Mapping[str, Any]) -> frozenset[str]:
    """The texts of a contract's `objects`: names of objects, fields and relations, and the words that are written."""

    def texts(value: Any) -> Iterator[str]:
        match value:
            case dict():
                for name, each in value.items():
                    yield str(name)
                    yield from texts(each)
            case list():
                for each in value:
                    yield from texts(each)
            case str():
                yield value

    return frozenset(texts(contract.get("objects", {})))
