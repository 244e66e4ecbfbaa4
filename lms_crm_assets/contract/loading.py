"""Reading contracts from `tenants/<tenant>.yaml`; every mistake of a file is one line with the file and the line.

Nothing but the file is touched: no network, no warehouse, no secret.
"""

import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from lms_crm_assets.contract.alerts import Alerts
from lms_crm_assets.contract.document import Document, filled, read_document
from lms_crm_assets.contract.models import VERSION, Contract
from lms_crm_assets.contract.upgrade import MOVED, upgrade
from lms_crm_assets.errors import ContractError

Model = TypeVar("Model", bound=BaseModel)

FLEET_ALERTS = "_alerts.yaml"
"""In the folder of the contracts: the alerts of all tenants."""

_TENANT = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_VARIABLE = re.compile(rb"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# Each schedule and sensor asks for all contracts at every tick. To read one takes 30 ms, to see that it is the same 0.05.
_KEPT = 4_096
_CHANNELS = ("slack", "webhook", "email")
_ADAPTERS = {
    end: [
        str(get_args(model.model_fields["adapter"].annotation)[0])
        for model in get_args(Contract.model_fields[end].annotation)
    ]
    for end in ("source", "destination")
}
"""What each end of a contract can be, as its models say."""


def tenant_names(folder: Path) -> list[str]:
    """The tenants that have a file in `folder`, sorted; a file whose name begins with `_` is no tenant's."""
    return sorted(path.stem for path in folder.glob("*.yaml") if not path.name.startswith("_"))


def load_fleet_alerts(folder: Path, environ: Mapping[str, str] | None = None) -> Alerts:
    """What `_alerts.yaml` says for all tenants, the defaults without that file; `ContractError` as for a contract."""
    path = folder / FLEET_ALERTS
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Alerts()
    except OSError as exc:
        raise ContractError(f"{path}: the file can't be read: {exc.strerror}") from exc
    document = read_document(content)
    found = _valid(Alerts, filled(document, os.environ if environ is None else environ), document)
    if found is None or document.problems:
        raise _mistakes(document, path)
    return found


def tenant_name(name: str) -> str:
    """A name that a new tenant can have; `ContractError` says what one looks like."""
    if not _TENANT.fullmatch(name):
        raise ContractError(f"'{name}' is no tenant's name: small letters, digits, - and _, beginning with a letter")
    return name


def contract_file(folder: Path, tenant: str) -> Path:
    """The file of one tenant; `ContractError` when there is none."""
    path = folder / f"{tenant}.yaml"
    if not _TENANT.fullmatch(tenant) or not path.is_file():
        known = ", ".join(tenant_names(folder)) or "none"
        raise ContractError(f"no tenant '{tenant}': there is no file {path} (tenants there: {known})")
    return path


def load_contract(folder: Path, tenant: str, environ: Mapping[str, str] | None = None) -> Contract:
    """The contract of one tenant; `ContractError` names the file, the lines and what to mend.

    While neither the file nor the variables that it names change, it is the same object.
    """
    path, environ = contract_file(folder, tenant), os.environ if environ is None else environ
    content = _content(path)
    named = {name.decode() for name in _VARIABLE.findall(content)}
    return _known(content, path, frozenset((name, environ[name]) for name in named if name in environ))


@lru_cache(maxsize=_KEPT)
def _known(content: bytes, path: Path, variables: frozenset[tuple[str, str]]) -> Contract:
    return _parse(content, path, dict(variables))[0]


def load_with_lines(folder: Path, tenant: str, environ: Mapping[str, str] | None = None) -> tuple[Contract, Document]:
    """The contract of one tenant and the document it was read from, which knows the lines."""
    path = contract_file(folder, tenant)
    return _parse(_content(path), path, os.environ if environ is None else environ)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ContractError(f"{path}: the file can't be read: {exc.strerror}") from exc


def parse_contract(text: str | bytes, path: Path, environ: Mapping[str, str]) -> Contract:
    """A contract from YAML text; `path` is named in messages and its stem has to be the tenant's name."""
    return _parse(text.encode() if isinstance(text, str) else text, path, environ)[0]


def _parse(content: bytes, path: Path, environ: Mapping[str, str]) -> tuple[Contract, Document]:
    document = read_document(content)
    contract = _validated(document, path, environ) if document.content else None
    if contract is None or document.problems:
        raise _mistakes(document, path)
    return contract, document


def _mistakes(document: Document, path: Path) -> ContractError:
    # One line each, whatever stands in the file's keys.
    lines = dict.fromkeys(f"{path}:{line}: {' '.join(said.split())}" for line, said in sorted(document.problems))
    return ContractError("\n".join(lines))


def _validated(document: Document, path: Path, environ: Mapping[str, str]) -> Contract | None:
    """The contract, or None with the reasons added to the document's problems."""
    content = upgrade(filled(document, environ))
    if content.get("tenant") not in (None, path.stem) and isinstance(content["tenant"], str):
        said = f"tenant is '{content['tenant']}' but the file is called '{path.name}'"
        document.problems.append((document.line_of(["tenant"]), said))
    return _valid(Contract, content, document)


def _valid(model: type[Model], content: Mapping[str, Any], document: Document) -> Model | None:
    """The content as a model, or None with the reasons added to the document's problems."""
    try:
        return model.model_validate(content)
    except ValidationError as exc:
        for problem in exc.errors(include_url=False, include_input=False):
            place = _place(problem["loc"])
            if place not in document.lines:
                place = MOVED.get(place, place)
            if problem["type"] in {"union_tag_invalid", "union_tag_not_found"} and place[0] in _ADAPTERS:
                place = (*place, "adapter")
            if place[-1:] == ("from",) and place not in document.lines:  # the short form
                place = place[:-1]
            if not any(unset == place[: len(unset)] for unset in document.unset):
                said = f"{'.'.join(place)}: {_message(problem['type'], problem['msg'], place)}"
                document.problems.append((document.line_of(place), said))
        return None


def _place(location: Sequence[Any]) -> tuple[str, ...]:
    """The keys that lead to a mistake, without what pydantic adds for unions and keys."""
    return tuple(
        str(part)
        for number, part in enumerate(location)
        if part != "[key]"
        and not (number == 1 and part in _ADAPTERS.get(str(location[0]), ()))
        and not (number > 0 and isinstance(location[number - 1], int) and part in _CHANNELS)
        and not str(part).startswith(("function-", "constrained-"))
        and not (number > 0 and location[number - 1] == "value" and part in ("str", "bool", "int", "float"))
    )


def _message(kind: str, message: str, place: tuple[str, ...]) -> str:
    """What to mend, in our words where pydantic's don't say it; never the value, which may be a secret."""
    match kind:
        case "extra_forbidden":
            return f"there is no key '{place[-1]}' here"
        case "missing":
            return "this key is missing"
        case "too_short":
            return "must not be empty"
        case "literal_error" if place == ("version",):
            return f"must be {VERSION} (files of version 1 are read as well)"
        case "string_pattern_mismatch" if place[-1] in _SECRET_KEYS:
            return "must say where the secret lies, env:NAME, file:PATH or vault:NAME: a contract never holds the secret itself"
        case "union_tag_invalid" | "union_tag_not_found" if place[0] in _ADAPTERS:
            return f"must be one of {', '.join(_ADAPTERS[str(place[0])])}"
        case "union_tag_invalid":
            return f"must be one of {message.rpartition('expected tags: ')[2]}"
        case "string_type":
            return "must be a text: write it in quotes"
        case "model_type" | "model_attributes_type" if place[-2:-1] == ("fields",):
            return "must be a column, an expression or a mapping"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "must be a mapping"
        case _:
            return message.removeprefix("Value error, ")


# `url`: of a channel that whoever knows its address may write to.
_SECRET_KEYS = frozenset(
    {
        "token",
        "api_key",
        "client_id",
        "client_secret",
        "access_token",
        "refresh_token",
        "private_key",
        "secret",
        "password",
        "url",
    }
)
