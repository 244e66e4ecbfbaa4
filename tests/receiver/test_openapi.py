"""The OpenAPI document: valid, and everything that is answered stands in it."""

from typing import Any

import hypothesis
import pytest
import schemathesis
from openapi_spec_validator import validate

from lms_crm_assets.receiver.app import build_app
from lms_crm_assets.receiver.problems import CODES
from lms_crm_assets.settings import Settings
from tests.conftest import TENANTS
from tests.openapi_checks import CHECKS
from tests.receiver_server import Running, signed

DOCUMENT: dict[str, Any] = build_app(Settings(TENANTS, TENANTS / "no state")).openapi()
OPERATIONS = [(path, operation) for path, item in DOCUMENT["paths"].items() for operation in item]
SEED = 20261127
schema = schemathesis.openapi.from_dict(DOCUMENT)


def test_the_document_is_valid_openapi_and_served(receiver: Running) -> None:
    validate(DOCUMENT)
    assert receiver.client.get("/api/v1/openapi.json").json() == DOCUMENT


def test_every_error_is_a_problem() -> None:
    for path, method in OPERATIONS:
        for status, answer in DOCUMENT["paths"][path][method]["responses"].items():
            if int(status) >= 400:
                # Token errors have the shape of RFC 6749, 5.2, which OAuth clients read.
                also = ["application/json"] if path.endswith("/token") and status in {"400", "401"} else []
                assert set(answer["content"]) - set(also) <= {"application/problem+json"}, (path, status)
                assert answer["content"]
                assert int(status) in CODES
                assert status not in {"429", "503"} or "Retry-After" in answer["headers"]
    assert "HTTPValidationError" not in str(DOCUMENT)


@pytest.mark.slow
@pytest.mark.parametrize("tenant", ["standard", "token", "bearer", "nobody"])
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_is_answered_to_any_call_is_as_documented(receiver: Running, path: str, method: str, tenant: str) -> None:
    if "{tenant}" not in path and tenant != "standard":
        return

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        # Who may not call is refused before the body is looked at.
        max_examples=15 if tenant == "standard" else 4,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=schema[path][method.upper()].as_strategy())
    def answers_as_documented(case: schemathesis.Case[Any]) -> None:
        if "tenant" in case.path_parameters:
            case.path_parameters["tenant"] = tenant
        headers = {"Authorization": "Bearer bearer-secret"} if tenant in {"bearer", "standard"} else {}
        case.call_and_validate(base_url=receiver.address, headers=headers, checks=CHECKS)

    answers_as_documented()


def test_what_is_kept_is_answered_as_documented(receiver: Running) -> None:
    answer = receiver.post(b"{}", signed(b"{}"))
    assert answer.status_code == 202
    schema["/api/v1/hooks/{tenant}"]["POST"].validate_response(answer)
