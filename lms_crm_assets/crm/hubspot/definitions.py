"""Making objects, properties, association types and labels (HubSpot documentation, "Custom objects" and "Properties")."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lms_crm_assets.contract.models import Contract, HubSpotDestination
from lms_crm_assets.crm.discovery import Kind
from lms_crm_assets.crm.hubspot.answers import listed
from lms_crm_assets.crm.hubspot.client import HubSpotClient
from lms_crm_assets.crm.setup import GROUP, HUBSPOT_TYPES, Change, NewField, What
from lms_crm_assets.errors import BatchRefusedError, FatalError, PermissionMissingError, ProtocolError
from lms_crm_assets.ops.store import OperationalStore

_CONTACTS = "CONTACT"
_LONGEST_NAME = 100
_ROLL_UP = (
    "On a tier without custom objects (all but Enterprise) leave enrollment, completion and competency out of the contract,"
    " and map roll-up columns to properties of the contact instead: courses_enrolled, courses_completed and the others"
)


class HubSpotDefinitions:
    """The definitions of one portal."""

    def __init__(self, contract: Contract, destination: HubSpotDestination, store: OperationalStore) -> None:
        self._client = HubSpotClient(contract, destination, store)
        self._paths = self._client.paths

    def groups(self, to: str) -> frozenset[str]:
        """The names of an object's property groups."""
        answer = self._client.read("GET", self._paths.properties(to, "groups"))
        return frozenset(str(group["name"]) for group in listed(answer, "results"))

    def make(self, change: Change) -> None:
        """Carry one change out; HubSpot's own words when it refuses, which are about definitions only."""
        with self._refusals(change):
            match change.what:
                case What.OBJECT:
                    self._post(self._paths.schemas(), self._object(change))
                case What.GROUP:
                    self._post(self._paths.properties(change.to, "groups"), {"name": change.name, "label": "LMS"})
                case What.PROPERTY:
                    body = {**_property(change.fields[0]), "groupName": GROUP}
                    self._post(self._paths.properties(change.to), body)
                case What.OPTIONS:
                    self._add_options(change)
                case What.ASSOCIATION:
                    start, end = self._type_id(change.to), self._type_id(change.parents[0])
                    name = _association_name(change)
                    body = {"fromObjectTypeId": start, "toObjectTypeId": end, "name": name}
                    self._post(self._paths.schemas(change.to, "associations"), body)
                case What.LABEL:
                    body = {"label": change.name, "name": _association_name(change)}
                    path = self._paths.associations(change.to, change.parents[0], "labels")
                    self._client.call("POST", path, body=body, pool="associations", is_batch=True)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _object(self, change: Change) -> dict[str, Any]:
        singular = _said(change.name)
        key = change.fields[0].name
        return {
            "name": change.name,
            "labels": {"singular": singular, "plural": f"{singular}s"},
            "primaryDisplayProperty": key,
            "requiredProperties": [key],
            "searchableProperties": [key],
            "properties": [_property(field) for field in change.fields],
            "associatedObjects": [self._associated(to) for to in change.parents],
        }

    def _add_options(self, change: Change) -> None:
        """A choice's options are replaced as a whole: the old ones go along."""
        path = self._paths.properties(change.to, change.name)
        held = [dict(option) for option in listed(self._client.read("GET", path), "options")]
        new = _options(change.fields[0].words, len(held))
        self._client.call("PATCH", path, body={"options": [*held, *new]}, is_batch=True)

    def _associated(self, to: str) -> str:
        """An object as a schema names it: a standard one by its name, another by its type's id."""
        return _CONTACTS if to in {"contacts", "contact", "0-1"} else self._type_id(to)

    def _type_id(self, to: str) -> str:
        if to[0].isdigit():
            return to
        return str(self._client.read("GET", self._paths.schemas(to))["objectTypeId"])

    def _post(self, path: str, body: dict[str, Any]) -> None:
        self._client.call("POST", path, body=body, is_batch=True)

    @contextmanager
    def _refusals(self, change: Change) -> Iterator[None]:
        what = f"HubSpot does not make the {change.what} {change.name or change.to}"
        try:
            yield
        except BatchRefusedError as exc:
            raise FatalError(f"{what}: {exc.code}, {exc.detail}") from exc
        except PermissionMissingError as exc:
            more = f". {_ROLL_UP}" if change.what is What.OBJECT else ""
            raise PermissionMissingError(f"{what}: {exc}{more}") from exc
        except ProtocolError as exc:
            raise FatalError(f"{what}: {exc}") from exc


def _property(field: NewField) -> dict[str, Any]:
    kind, form = HUBSPOT_TYPES[field.kind]
    body: dict[str, Any] = {
        "name": field.name,
        "label": _said(field.name),
        "type": kind,
        "fieldType": "checkbox" if field.multiple else form,
        "hasUniqueValue": field.unique,
    }
    if field.kind is Kind.BOOLEAN:
        body["options"] = [
            {"label": label, "value": value, "displayOrder": place, "hidden": False}
            for place, (value, label) in enumerate((("true", "Yes"), ("false", "No")))
        ]
    elif field.words:
        body["options"] = _options(field.words, 0)
    return body


def _options(words: Sequence[str], first: int) -> list[dict[str, Any]]:
    return [
        {"label": _said(word), "value": word, "displayOrder": place, "hidden": False}
        for place, word in enumerate(words, first)
    ]


def _said(name: str) -> str:
    """`lms_enrolled_at` as people read it."""
    words = name.replace("_", " ").strip()
    return (words[:1].upper() + words[1:]).replace("Lms ", "LMS ")


def _association_name(change: Change) -> str:
    """A name within the rules: letters, digits and underscores, a letter first."""
    text = f"{change.name or change.to}_to_{change.parents[0]}".lower()
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in text)
    return f"lms_{plain}"[:_LONGEST_NAME]
