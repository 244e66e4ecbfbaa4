"""A proposal as the text of a contract, with comments for whoever reads it next."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lms_crm_assets.contract.models import VERSION
from lms_crm_assets.domain import Owner
from lms_crm_assets.proposal.mapping import ProposedField, ProposedObject

_PLAIN = re.compile(r"[A-Za-z_/][\w.:/@-]*")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n", "~"})
_EITHER_NAME = "COALESCE(title, code)"


def contract_text(
    tenant: str,
    source: Mapping[str, Any],
    destination: Mapping[str, Any],
    objects: Sequence[ProposedObject],
    *,
    asked: bool = True,
) -> str:
    """The YAML of a contract in the newest version of the format; `asked`: the CRM told what it has of `objects`."""
    return "\n".join(
        [
            "# yaml-language-server: $schema=../docs/contract.schema.json",
            f"# Proposed by lms-crm init: read it, then lms-crm doctor --tenant {tenant} tells the next step.",
            "# Every key: docs/contract.md. Secrets never stand here, only where they are kept.",
            f"version: {VERSION}",
            f"tenant: {tenant}",
            f"description: {source['adapter']} to {destination['adapter']}",
            "",
            "source:",
            *_section(source),
            "",
            "destination:",
            *_section(destination),
            "",
            "# Nothing is written before a person has read the plan; `true` lets runs write by themselves.",
            "guardrails:",
            "  auto_apply: false",
            "",
            "# Under `fields`, the CRM's field on the left. `owner: fill_if_empty` leaves what the CRM's people wrote; without it",
            "# the LMS's value wins, but for an empty one. A record of the CRM is found by `match_key` alone: one that is there",
            "# without the LMS's id in it is none of ours, and is made a second time or refused. Write the ids there first.",
            "objects:",
            *(line for each in objects for line in _object(each, asked=asked)),
            "",
        ]
    )


def _section(values: Mapping[str, Any], indent: str = "  ") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from _section(value, indent + "  ")
        else:
            yield f"{indent}{name}: {_scalar(value)}"


def _object(each: ProposedObject, *, asked: bool) -> Iterator[str]:
    def remark(known: bool) -> str:  # noqa: FBT001 - the one thing it says
        return "" if known or not asked else "  # not there yet"

    yield f"  {each.object}:"
    yield f"    to: {_scalar(each.to)}{remark(each.is_there)}"
    yield f"    match_key: {each.match_key}{remark(each.has_key or not each.is_there)}"
    if each.relations:
        named = ", ".join(f"{parent}: {_scalar(relation)}" for parent, relation in each.relations.items())
        yield f"    parents: {{{named}}}"
    yield "    fields:"
    for field in each.fields:
        yield f"      {field.crm_field}: {_mapped(field)}{remark(field.is_there or not each.is_there)}"


def _mapped(field: ProposedField) -> str:
    value = _EITHER_NAME if field.column == "title" else field.column
    details = {
        "owner": field.owner if field.owner is not Owner.NEVER_NULL else None,
        "max_length": field.max_length,
        "scale": field.scale,
    }
    said = [f"{name}: {detail}" for name, detail in details.items() if detail is not None]
    if not said:
        return value
    # A comma inside of braces ends a plain value.
    whole = json.dumps(value) if "," in value else value
    return "{" + ", ".join([f"from: {whole}", *said]) + "}"


def _scalar(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    text = str(value)
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)
