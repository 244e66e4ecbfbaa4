"""What a contract has to say of its two ends, and what can be taken for it where nobody says it."""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic.fields import FieldInfo

from lms_crm_assets.contract import destinations, sources
from lms_crm_assets.contract.credentials import is_reference
from lms_crm_assets.contract.endpoints import ContractModel
from lms_crm_assets.contract.models import Contract

_NEEDED = {"source": sources.NEEDED, "destination": destinations.NEEDED}
_SIDES = {"source": "LMS", "destination": "CRM"}


def adapters(end: str) -> dict[str, type[ContractModel]]:
    """The models of `source` or `destination` by the name of their adapter."""
    models = get_args(Contract.model_fields[end].annotation)
    return {str(get_args(model.model_fields["adapter"].annotation)[0]): model for model in models}


def needed(end: str, adapter: str, flow: str | None) -> Iterator[tuple[str, FieldInfo]]:
    """The keys that an end needs and for which there is no default, with their description; the adapter is none of them."""
    fields = adapters(end)[adapter].model_fields
    way = flow or (fields["flow"].default if "flow" in fields else None)
    also = _NEEDED[end].get((adapter, way), ()) if way else ()
    for name, field in fields.items():
        if name != "adapter" and (field.is_required() or name in also):
            yield name, field


def _variable(tenant: str, end: str, name: str) -> str:
    """Where a secret is looked for unless somebody says it."""
    return f"env:{tenant.upper().replace('-', '_')}_{_SIDES[end]}_{name.upper()}"


def completed(tenant: str, end: str, said: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[str, FieldInfo]]]:
    """An end with where its secrets are looked for, and the keys that a person still has to say."""
    values, open_ = dict(said), []
    for name, field in needed(end, str(said["adapter"]), said.get("flow")):
        if name in values:
            continue
        if is_reference(field):
            values[name] = _variable(tenant, end, name)
        else:
            open_.append((name, field))
    return values, open_
