"""The documents made from the models are up to date, and their examples are contracts."""

import json
import re
from pathlib import Path

from lms_crm_assets.contract.documents import DOCS, MARK, REFERENCE_FILE, SCHEMA_FILE, reference_text, schema_text
from lms_crm_assets.contract.loading import parse_contract
from lms_crm_assets.contract.rewriting import SCHEMA_LINE
from tests.conftest import TENANTS

BEHIND = "run: python -m lms_crm_assets.contract.documents"


def test_the_schema_is_that_of_the_models() -> None:
    assert (DOCS / SCHEMA_FILE).read_text(encoding="utf-8") == schema_text(), BEHIND


def test_the_reference_is_that_of_the_models() -> None:
    text = (DOCS / REFERENCE_FILE).read_text(encoding="utf-8")

    assert text.partition(MARK)[0].startswith("# The integration contract\n")
    assert MARK + text.partition(MARK)[2] == reference_text(), BEHIND


def test_the_schema_takes_a_text_for_a_field_and_no_unknown_key() -> None:
    schema = json.loads(schema_text())

    assert schema["$defs"]["ObjectMapping"]["properties"]["fields"]["additionalProperties"]["anyOf"] == [
        {"type": "string"},
        {"$ref": "#/$defs/FieldMapping"},
    ]
    assert "from" in schema["$defs"]["FieldMapping"]["properties"]
    assert all(part["additionalProperties"] is False for part in schema["$defs"].values() if "properties" in part)
    assert schema["additionalProperties"] is False
    assert schema["title"] == "Integration contract"


def test_the_example_of_the_introduction_is_a_contract() -> None:
    (example,) = re.findall(r"```yaml\n(.+?)```", (DOCS / REFERENCE_FILE).read_text(encoding="utf-8"), re.DOTALL)

    contract = parse_contract(example, Path("acme.yaml"), {"LMS_URL": "https://lms.test"})

    assert len(contract.objects["contact"].fields) == 6  # type: ignore[index]  # a StrEnum is its word


def test_editors_find_the_schema_from_the_example_tenants() -> None:
    for file in TENANTS.glob("*.yaml"):
        first, _, _ = file.read_text(encoding="utf-8").partition("\n")
        assert first == SCHEMA_LINE
        assert (file.parent / first.partition("$schema=")[2]).resolve() == (DOCS / SCHEMA_FILE).resolve()
