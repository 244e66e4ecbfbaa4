"""Salesforce's outbound messages: the type and id of each notification's record, read without trusting the document.

A document type is refused as such: entities can only be declared in one.
"""

from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

_TYPE = "http://www.w3.org/2001/XMLSchema-instance type"
_PATH = ["Envelope", "Body", "notifications", "Notification", "sObject", "Id"]
_RECORD = len(_PATH) - 1
_DEEPEST = 64
_LONGEST = 64


class _RefusedError(Exception):
    """It is none of Salesforce's."""


@dataclass
class _Reader:
    path: list[str] = field(default_factory=list)
    found: list[tuple[str, str]] = field(default_factory=list)
    kind: str = ""
    text: str = ""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.path.append(name.rpartition(" ")[2])
        if len(self.path) > _DEEPEST:
            raise _RefusedError
        if self.path == _PATH[:_RECORD]:
            self.kind, self.text = attributes.get(_TYPE, "").rpartition(":")[2], ""

    def end(self, _name: str) -> None:
        if self.path == _PATH[:_RECORD]:
            self.found.append((self.kind, self.text.strip()))
        self.path.pop()

    def characters(self, some: str) -> None:
        if self.path == _PATH:
            self.text += some
            if len(self.text) > _LONGEST:
                raise _RefusedError


def notifications(body: bytes) -> list[tuple[str, str]] | None:
    """Type and id of each record; None for what is no outbound message."""
    reader = _Reader()
    # Salesforce sends UTF-8; what the document says of itself is not followed.
    parser = expat.ParserCreate("utf-8", " ")
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    parser.ExternalEntityRefHandler = _refuse
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, _RefusedError):
        return None
    return reader.found or None


def _refuse(*_: object) -> NoReturn:
    raise _RefusedError
