"""The documents that are made from the models: `docs/contract.schema.json` and the reference in `docs/contract.md`.

`python -m lms_crm_assets.contract.documents` writes both; a test tells when they are behind.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lms_crm_assets.contract.canonical import COLUMNS, EXTRA_COLUMN, PERSONAL, VOCABULARIES
from lms_crm_assets.contract.expressions import allowed_functions
from lms_crm_assets.contract.meanings import meaning_of
from lms_crm_assets.contract.models import Contract
from lms_crm_assets.domain import CrmObject

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA_FILE, REFERENCE_FILE = "contract.schema.json", "contract.md"
MARK = "<!-- From here on generated: python -m lms_crm_assets.contract.documents -->"

Schema = Mapping[str, Any]

# Where the parts stand in a contract, in the order in which they are told.
_PLACES = {
    "MoodleSource": "`source`, adapter `moodle`",
    "MoodleReports": "`source.reports`",
    "CanvasSource": "`source`, adapter `canvas`",
    "OneRosterSource": "`source`, adapter `oneroster`",
    "ThinkificSource": "`source`, adapter `thinkific`",
    "ChangesSource": "`source`, adapter `changes`",
    "SalesforceDestination": "`destination`, adapter `salesforce`",
    "HubSpotDestination": "`destination`, adapter `hubspot`",
    "ObjectMapping": "`objects.<object>`",
    "FieldMapping": "`objects.<object>.fields.<CRM field>`",
    "Webhooks": "`webhooks`",
    "StandardVerifier": "`webhooks.lms`, verify `standard`",
    "HmacVerifier": "`webhooks.lms`, verify `hmac`",
    "JwtVerifier": "`webhooks.lms`, verify `jwt`",
    "TokenVerifier": "`webhooks.lms`, verify `token`",
    "BearerVerifier": "`webhooks.lms` and `webhooks.crm`, verify `bearer`",
    "HubSpotVerifier": "`webhooks.crm`, verify `hubspot`",
    "Client": "`clients`",
    "Backpressure": "`backpressure`",
    "Guardrails": "`guardrails`",
    "Delivery": "`delivery`",
    "ChecksPolicy": "`checks`",
    "RuleChange": "`checks.rules`, of the [codes](error-codes.md)",
    "OwnRule": "`checks.own`",
    "Schedules": "`schedules`",
    "Sla": "`sla`",
    "Alerts": "`alerts`, and the file `tenants/_alerts.yaml`",
    "SlackChannel": "`alerts.channels`, to `slack`",
    "EmailChannel": "`alerts.channels`, to `email`",
    "WebhookChannel": "`alerts.channels`, to `webhook`",
    "Retention": "`retention`",
    "Privacy": "`privacy`",
    "Report": "`report`",
    "Throttle": "`throttle`",
    "LmsThrottle": "`throttle.lms`",
    "CrmThrottle": "`throttle.crm`",
}


def schema_text() -> str:
    """The JSON Schema of a contract, with which editors complete and check a tenant's file."""
    schema = Contract.model_json_schema(by_alias=True)
    told = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Integration contract"}
    return json.dumps(_without_titles(told), indent=2, ensure_ascii=False) + "\n"


def reference_text() -> str:
    """Every key with its type, default and meaning, and what expressions may use, in Markdown."""
    schema = Contract.model_json_schema(by_alias=True)
    return "\n".join([MARK, "", "## Reference", "", *_reference(schema), *_canonical(), *_expressions()]) + "\n"


def main() -> None:
    """Write both documents."""
    (DOCS / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
    reference = DOCS / REFERENCE_FILE
    introduction = reference.read_text(encoding="utf-8").partition(MARK)[0]
    reference.write_text(introduction + reference_text(), encoding="utf-8")


def _reference(schema: Schema) -> Iterator[str]:
    parts = schema["$defs"]
    yield from _part("The file", schema, parts)
    for name, place in _PLACES.items():
        yield from _part(place, parts[name], parts)


def _part(title: str, part: Schema, parts: Schema) -> Iterator[str]:
    yield from (f"### {title}", "", part["description"], "", "| key | type | default | meaning |", "|---|---|---|---|")
    required = part.get("required", [])
    for key, told in part["properties"].items():
        given = "required" if key in required else _default(told.get("default"))
        yield f"| `{key}` | {_type(told, parts)} | {given} | {_meaning(told, parts)} |"
    yield ""


def _meaning(told: Schema, parts: Schema) -> str:
    """A property's description; pydantic leaves it out where it is the same as that of the model it refers to."""
    found: str = told.get("description") or parts[told["$ref"].rpartition("/")[2]]["description"]
    return found


def _default(value: Any) -> str:
    if value is None:
        return ""
    return "see there" if isinstance(value, dict) and value else f"`{json.dumps(value, ensure_ascii=False)}`"


def _type(told: Schema, parts: Schema) -> str:
    """A property's type in words."""
    match told:
        case {"$ref": reference}:
            found = parts[reference.rpartition("/")[2]]
            return _type(found, parts) if "enum" in found else "mapping"
        case {"enum": words}:
            return ", ".join(f"`{word}`" for word in words)
        case {"const": word}:
            return f"`{word}`"
        case {"anyOf": choices} | {"oneOf": choices}:
            named = [_type(choice, parts) for choice in choices if choice.get("type") != "null"]
            return " or ".join(dict.fromkeys(named))
        case {"type": "object", "additionalProperties": dict(inner)}:
            return f"mapping to {_type(inner, parts)}"
        case {"type": "array", "items": inner}:
            return f"list of {_type(inner, parts)}"
        case {"type": "string"}:
            return "text"
        case {"type": "integer"} | {"type": "number"}:
            kind = "whole number" if told["type"] == "integer" else "number"
            least, most = told.get("minimum"), told.get("maximum")
            return kind + (f", {least} to {most}" if most is not None and least is not None else "")
        case _:
            return str(told.get("type", "mapping"))


def _canonical() -> Iterator[str]:
    yield from ("### Canonical columns", "")
    yield "What `from` may name. `source_id` is the LMS's own id of the record, and fills the match key."
    for obj, columns in COLUMNS.items():
        yield from ("", f"**{obj}**", "", "| column | type | meaning |", "|---|---|---|")
        for column, kind in columns.items():
            words = VOCABULARIES.get(obj, {}).get(column)
            notes = [f"One of {', '.join(f'`{word}`' for word in sorted(words))}."] if words else []
            yield f"| `{column}` | {kind} | {' '.join([_told(obj, column), *notes])} |"
        yield f"| `{EXTRA_COLUMN}` | JSON | {_told(obj, EXTRA_COLUMN)} |"
    yield ""


def _told(obj: CrmObject, column: str) -> str:
    return meaning_of(obj, column) + (" Personal." if column in PERSONAL[obj] else "")


def _expressions() -> Iterator[str]:
    yield from ("### Expressions", "")
    yield "DuckDB's SQL, one scalar expression over the canonical columns of the object. Allowed are columns, texts in"
    yield "single quotes, numbers, `TRUE`, `FALSE`, `NULL`; `+ - * / // %`, `||`, comparisons, `BETWEEN`, `IN` with a list,"
    yield "`LIKE`, `ILIKE`, `IS`, `AND`, `OR`, `NOT`; and the functions"
    yield f"{', '.join(f'`{name}`' for name in allowed_functions())}."
    yield f"`{EXTRA_COLUMN} ->> 'name'` gives an attribute without a column as text, `{EXTRA_COLUMN} ->> '$.name.inner[0]'` one"
    yield 'deeper in it, without wildcards; odd names stand as `$."a/b"`. Beside another operator it may need parentheses.'
    yield "`CAST` goes to `TEXT`, `NUMBER`, `INT`, `BOOLEAN`, `DATE` or `DATETIME`. What can't be computed for a row is null, which `owner: enforce` writes as empty."


def _without_titles(value: Any, *, named: bool = False) -> Any:
    """Without pydantic's titles, which only repeat the keys; the keys of `properties` are names, not titles."""
    if isinstance(value, Mapping):
        return {
            key: _without_titles(entry, named=key in {"properties", "$defs"} and not named)
            for key, entry in value.items()
            if named or key != "title" or entry == "Integration contract"
        }
    return [_without_titles(entry) for entry in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
