"""Writing a contract's file anew in the newest version of the format."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from lms_crm_assets.contract.document import read_document
from lms_crm_assets.contract.loading import parse_contract
from lms_crm_assets.contract.upgrade import renewed

# Relative to the file, as editors with the YAML language server read it.
SCHEMA_LINE = "# yaml-language-server: $schema=../docs/contract.schema.json"


def upgraded(content: bytes, path: Path, environ: Mapping[str, str]) -> str:
    """The file's text in the newest version and without what is deprecated, variables as they are; comments are lost.

    `ContractError` when the file isn't valid before: there is nothing to keep then.
    """
    parse_contract(content, path, environ)
    document = renewed(read_document(content).content)
    body = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)
    text = f"{SCHEMA_LINE}\n{body}"
    parse_contract(text, path, environ)
    return text
