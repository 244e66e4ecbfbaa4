"""Reading contracts from `tenants/<tenant>.yaml`, with messages that name the file and the line."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.errors import ContractError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_TENANT = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def tenant_names(folder: Path) -> list[str]:
    """The tenants that have a file in `folder`, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_contract(folder: Path, tenant: str, environ: Mapping[str, str] | None = None) -> Contract:
    """The contract of one tenant; `ContractError` names the file, the line and what to mend."""
    path = folder / f"{tenant}.yaml"
    if not _TENANT.fullmatch(tenant) or not path.is_file():
        known = ", ".join(tenant_names(folder)) or "none"
        raise ContractError(f"no tenant '{tenant}': there is no file {path} (tenants there: {known})")
    return parse_contract(path.read_text(encoding="utf-8"), path, os.environ if environ is None else environ)


def parse_contract(text: str, path: Path, environ: Mapping[str, str]) -> Contract:
    """A contract from YAML text; `path` is named in messages and its stem has to be the tenant's name."""
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ContractError(f"{path}{_yaml_line(exc)}: this is no valid YAML") from exc
    if not isinstance(content, dict) or not isinstance(tree, yaml.MappingNode):
        raise ContractError(f"{path}: the file has to hold a mapping that starts with 'version: 1'")
    try:
        contract = Contract.model_validate(_filled(content, path, environ))
    except ValidationError as exc:
        raise ContractError(_first_problem(exc, tree, path)) from exc
    if contract.tenant != path.stem:
        raise ContractError(f"{path}: tenant is '{contract.tenant}' but the file is called '{path.name}'")
    return contract


def _filled(value: Any, path: Path, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(entry, path, environ) for key, entry in value.items()}
    if isinstance(value, list):
        return [_filled(entry, path, environ) for entry in value]
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        name = match[1]
        if name not in environ:
            raise ContractError(f"{path}: ${{{name}}} is used but the environment variable {name} is not set")
        return environ[name]

    return _VARIABLE.sub(variable, value)


def _yaml_line(exc: yaml.YAMLError) -> str:
    mark = getattr(exc, "problem_mark", None)
    return f":{mark.line + 1}" if mark else ""


def _first_problem(exc: ValidationError, tree: yaml.MappingNode, path: Path) -> str:
    problem = exc.errors(include_url=False, include_input=False)[0]
    message = problem["msg"].removeprefix("Value error, ")
    location = [part for part in problem["loc"] if part not in ("moodle", "changes", "salesforce", "hubspot", "[key]")]
    dotted = ".".join(str(part) for part in location)
    if not location:  # a rule over the whole contract names the place itself
        dotted, _, message = message.partition(": ")
        location = list(dotted.split("."))
    more = f" (and {exc.error_count() - 1} more)" if exc.error_count() > 1 else ""
    return f"{path}:{_line_of(tree, location)}: {dotted}: {message}{more}"


def _line_of(node: yaml.Node, location: Sequence[Any]) -> int:
    line = node.start_mark.line
    for part in location:
        if not isinstance(node, yaml.MappingNode):
            break
        found = [(key, value) for key, value in node.value if key.value == str(part)]
        if not found:
            break
        line, node = found[0][0].start_mark.line, found[0][1]
    return int(line) + 1
