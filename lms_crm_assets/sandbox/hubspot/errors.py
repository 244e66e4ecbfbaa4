"""HubSpot's error bodies. One exception carries a refusal from wherever it is found to the answer.

Bodies: HubSpot documentation, "Error handling"; texts from recorded answers of the real API.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import orjson

PORTAL_ID = 12345678


class HubSpotError(Exception):
    """A refusal: `{"status": "error", "message", "correlationId", …}` with an HTTP status."""

    def __init__(  # noqa: PLR0913 - one keyword a field of HubSpot's body
        self,
        status: int,
        message: str,
        *,
        category: str | None = None,
        sub_category: str | None = None,
        context: Mapping[str, Sequence[str]] | None = None,
        errors: Sequence[Mapping[str, Any]] | None = None,
        label: str = "error",
        more: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self._message = message
        self._label = label
        self._fields: dict[str, Any] = {
            "errors": errors,
            "context": context,
            "category": category,
            "subCategory": sub_category,
            **(more or {}),
        }

    def body(self) -> dict[str, Any]:
        """The whole answer."""
        given = {name: value for name, value in self._fields.items() if value is not None}
        return {"status": self._label, "message": self._message, "correlationId": str(uuid4()), **given}

    def entry(self, trace_id: str | None = None) -> dict[str, Any]:
        """One element of `errors[]` in a multi-status answer; `context` names the input by its trace id."""
        context = dict(self._fields["context"] or {})
        if trace_id is not None:
            context["objectWriteTraceId"] = [trace_id]
        entry = {"status": "error", "category": self._fields["category"], "message": self._message, "context": context}
        if self._fields["subCategory"] is not None:
            entry["subCategory"] = self._fields["subCategory"]
        return entry


class InvalidValueError(Exception):
    """One property value that HubSpot refuses, with the code it gives."""

    def __init__(self, name: str, code: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.code = code
        self.message = message


def validation_error(message: str, context: Mapping[str, Sequence[str]] | None = None) -> HubSpotError:
    """400 with category VALIDATION_ERROR."""
    return HubSpotError(400, message, category="VALIDATION_ERROR", context=context)


def invalid_values(found: Sequence[InvalidValueError]) -> HubSpotError:
    """400 `Property values were not valid: […]`: the list is JSON inside the text, and again in `errors`."""
    listed = [
        {
            "isValid": False,
            "message": value.message,
            "error": value.code,
            "name": value.name,
            "localizedErrorMessage": value.message,
            "portalId": PORTAL_ID,
        }
        for value in found
    ]
    return HubSpotError(
        400,
        f"Property values were not valid: {orjson.dumps(listed).decode()}",
        category="VALIDATION_ERROR",
        errors=[
            {"message": value.message, "code": value.code, "context": {"propertyName": [value.name]}} for value in found
        ],
    )


def bad_json(line: int, column: int, detail: str) -> HubSpotError:
    """400 for a body that HubSpot's JSON mapper refuses; `detail` starts with its punctuation."""
    return validation_error(f"Invalid input JSON on line {line}, column {column}{detail}")


def missing_fields(names: Sequence[str]) -> HubSpotError:
    """400 for a body without its required fields."""
    return bad_json(1, 2, f". Some required fields were not set: [{', '.join(names)}]")


def duplicate_ids(ids: Sequence[str]) -> HubSpotError:
    """400 for a batch that names a record twice."""
    message = f"Duplicate IDs found in batch input: [{', '.join(ids)}]. IDs must be unique"
    return validation_error(message, {"ids": list(ids)})


def non_unique(type_id: str, name: str) -> HubSpotError:
    """400 for an `idProperty` without `hasUniqueValue`."""
    return validation_error(
        f"Unable to perform update/upsert by non-unique {type_id} property {name} in portal ID {PORTAL_ID}"
    )


def nothing_to_update() -> HubSpotError:
    """400 for an update without properties."""
    return validation_error("No properties found to update, please provide at least one.", {"properties": ["{}"]})


def unknown_type(name: str) -> HubSpotError:
    """400 for an object type the portal does not have. The real body carries no category."""
    return HubSpotError(400, f"Unable to infer object type from: {name}")


def missing_scopes(*scopes: str) -> HubSpotError:
    """403 for what the app was not granted (a recorded answer; PostHog issue 53339)."""
    link = "https://developers.hubspot.com/scopes"
    return HubSpotError(
        403,
        f"This app hasn't been granted all required scopes to make this call. Read more about required scopes here: {link}.",
        category="MISSING_SCOPES",
        errors=[
            {
                "message": "One or more of the following scopes are required.",
                "context": {"requiredGranularScopes": list(scopes)},
            }
        ],
        more={"links": {"scopes": link}},
    )


def not_found(message: str = "resource not found") -> HubSpotError:
    """404 for a record, property or schema that does not exist."""
    return HubSpotError(404, message, category="OBJECT_NOT_FOUND")


def objects_not_found(label: str, ids: Sequence[str]) -> HubSpotError:
    """The `errors[]` entry for batch inputs that name no record."""
    message = f"Could not get some {label} objects, they may be deleted or not exist. Check that ids are valid."
    return HubSpotError(404, message, category="OBJECT_NOT_FOUND", context={"ids": list(ids)})


def contact_exists(record_id: int) -> HubSpotError:
    """409 for an e-mail address that another contact holds."""
    return HubSpotError(
        409,
        f"Contact already exists. Existing ID: {record_id}",
        category="CONFLICT",
        context={"existingId": [str(record_id)]},
    )
