"""Salesforce's outbound messages: their notifications' ids, and the answer without which Salesforce repeats them.

Workflow guide, "Understanding Outbound Messaging".
"""

from xml.parsers import expat

from lms_crm_assets.receiver.strict_json import MAX_DEPTH

ACK = (
    b'<?xml version="1.0" encoding="UTF-8"?>'
    b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    b'<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse>'
    b"</soapenv:Body></soapenv:Envelope>"
)


class NotXmlError(ValueError):
    """The text says why, without quoting what was sent."""


def notification_ids(body: bytes) -> list[str]:
    """The ids of a message's notifications; `NotXmlError` for what is no XML, or declares entities, or is nested too deep."""
    reader = _Reader()
    parser = expat.ParserCreate("UTF-8", namespace_separator=" ")
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _no_doctype
    try:
        parser.Parse(body, True)
    except expat.ExpatError:
        raise NotXmlError("the body is no XML") from None
    return reader.ids


def _no_doctype(*_: object) -> None:
    raise NotXmlError("the body declares a document type")


class _Reader:
    def __init__(self) -> None:
        self.ids: list[str] = []
        self._path: list[str] = []

    def start(self, name: str, _: dict[str, str]) -> None:
        self._path.append(name.rpartition(" ")[2])
        if len(self._path) > MAX_DEPTH:
            raise NotXmlError(f"the body is nested deeper than {MAX_DEPTH}")
        if self._path[-2:] == ["Notification", "Id"]:
            self.ids.append("")

    def end(self, _: str) -> None:
        self._path.pop()

    def text(self, text: str) -> None:
        if self._path[-2:] == ["Notification", "Id"]:
            self.ids[-1] += text
