"""The connector API's part of the OpenAPI document: whatever is answered stands in it, also to who may call."""

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st

from lms_crm_assets.domain import LmsEntity
from lms_crm_assets.receiver.app import build_app
from lms_crm_assets.settings import Settings
from tests.openapi_checks import CHECKS
from tests.receiver.connector_server import ENVIRON, LEARNER, TENANTS, Api, running_api

DOCUMENT: dict[str, Any] = build_app(Settings(TENANTS, TENANTS / "no state")).openapi()
OPERATIONS = [
    (path, method) for path, item in DOCUMENT["paths"].items() for method in item if path.startswith("/api/v1/tenants/")
]
SEED = 20261127
schema = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("openapi")) as running:
        running.build(LmsEntity.LEARNERS, [{"id": "1", **LEARNER}, {"id": "2", **LEARNER, "email": "bad"}])
        yield running


def test_every_route_is_described_with_its_scope() -> None:
    assert len(OPERATIONS) == len(LmsEntity) + 4
    for path, method in OPERATIONS:
        operation = DOCUMENT["paths"][path][method]
        assert operation["summary"]
        assert ("security" in operation) == (not path.endswith("/token"))
    batch = DOCUMENT["paths"]["/api/v1/tenants/{tenant}/learners:batchUpsert"]["post"]
    assert [each["name"] for each in batch["parameters"] if each["in"] == "header"] == ["Idempotency-Key"]
    row = batch["requestBody"]["content"]["application/json"]["schema"]["properties"]["items"]["items"]
    assert sorted(row["properties"]["status"]["enum"]) == ["active", "suspended"]
    flow = DOCUMENT["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]
    assert set(flow["scopes"]) == {"write", "changes", "rejections", "status"}


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_what_is_answered_to_who_may_call_is_as_documented(api: Api, path: str, method: str) -> None:
    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=15, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(case=schema[path][method.upper()].as_strategy(), authorized=st.integers(0, 5))
    def answers_as_documented(case: schemathesis.Case[Any], authorized: int) -> None:
        case.path_parameters["tenant"] = "acme"
        headers = api.bearer() if authorized else {"Authorization": "Bearer x"}
        if path.endswith("/token"):
            headers = {}
            if authorized > 1 and isinstance(case.body, dict):
                case.body |= {"client_id": "all", "client_secret": ENVIRON["API_SECRET"]}
        case.call_and_validate(base_url=str(api.http.base_url), headers=headers, checks=CHECKS)

    answers_as_documented()


@pytest.mark.parametrize("path", ["changes", "rejections", "status"])
def test_a_full_answer_is_as_documented(api: Api, path: str) -> None:
    answer = api.get(path)
    assert answer.status_code == 200
    schema[f"/api/v1/tenants/{{tenant}}/{path}"]["GET"].validate_response(answer)


def test_answers_to_token_and_batch_are_as_documented(api: Api) -> None:
    schema["/api/v1/tenants/{tenant}/token"]["POST"].validate_response(api.ask_token())
    schema["/api/v1/tenants/{tenant}/token"]["POST"].validate_response(api.ask_token(scope="all"))
    batch = schema["/api/v1/tenants/{tenant}/learners:batchUpsert"]["POST"]
    for answer in (api.batch([{"id": "1", **LEARNER}, {}], "k"), api.batch([{}], "k"), api.batch([], "l")):
        batch.validate_response(answer)
