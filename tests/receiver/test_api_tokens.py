"""Access tokens and what they open, over real HTTP."""

import base64
import time
from collections.abc import Iterator

import jwt
import pytest
from pydantic import SecretStr

from lms_crm_assets.ops.keys import KeyRing
from lms_crm_assets.receiver.signer import Signer
from tests.receiver.connector_server import ENVIRON, SCOPES, Api, running_api

KEY = KeyRing.of(SecretStr(ENVIRON["LMS_CRM_KEY"]))


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    with running_api(tmp_path_factory.mktemp("tokens")) as running:
        yield running


def test_a_client_gets_a_bearer_token_of_an_hour_with_all_its_scopes(api: Api) -> None:
    answer = api.ask_token()
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 3600, " ".join(SCOPES))
    assert api.ask_token(scope="status changes").json()["scope"] == "changes status"


def test_http_basic_serves_as_well_as_the_form(api: Api) -> None:
    address = "/api/v1/tenants/acme/token"
    answer = api.http.post(address, data={"grant_type": "client_credentials"}, auth=("all", "the+secret+of+the+client"))
    assert answer.status_code == 200, "id and secret are form-encoded in it (RFC 6749, 2.3.1)"
    both = api.http.post(
        address, data={"grant_type": "client_credentials", "client_secret": "x"}, auth=("all", ENVIRON["API_SECRET"])
    )
    assert (both.status_code, both.json()["error"]) == (400, "invalid_request")


def test_unknown_tenant_unknown_client_wrong_and_missing_secret_look_alike(api: Api) -> None:
    answers = [
        api.ask_token(tenant="nobody"),
        api.ask_token(tenant="No Such Name"),
        api.ask_token(client="nobody"),
        api.ask_token(client="unset"),
        api.ask_token(client_secret="wrong"),
        api.ask_token(client_secret=""),
        api.ask_token(client_secret="wröng \ud800".encode("utf-8", "replace").decode()),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["error"] == "invalid_client"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": ""}, "invalid_request"),
        ({"scope": "write everything"}, "invalid_scope"),
    ],
)
def test_what_cannot_be_granted_is_told_in_the_words_of_rfc_6749(api: Api, form: dict[str, str], error: str) -> None:
    answer = api.ask_token(**form)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_a_client_never_gets_more_than_its_scopes(api: Api) -> None:
    assert api.ask_token(client="reader").json()["scope"] == "changes"
    assert api.ask_token(client="reader", scope="write").json()["error"] == "invalid_scope"
    assert api.get("changes", client="reader").status_code == 200
    refused = api.get("status", client="reader")
    assert (refused.status_code, refused.json()["code"]) == (403, "INSUFFICIENT_SCOPE")
    assert 'scope="status"' in refused.headers["www-authenticate"]


def test_a_token_opens_its_own_tenant_alone(api: Api) -> None:
    for path in ("changes", "rejections", "status"):
        answers = [api.http.get(f"/api/v1/tenants/{name}/{path}", headers=api.bearer()) for name in ("other", "nobody")]
        assert {answer.status_code for answer in answers} == {403}
        assert answers[0].content == answers[1].content, "it doesn't tell which tenants there are"
    assert api.batch([{"id": "1"}], "k", tenant="other").status_code == 200
    answer = api.http.post(
        "/api/v1/tenants/other/learners:batchUpsert", json={"items": [{"id": "1"}]}, headers=api.bearer("acme")
    )
    assert answer.status_code == 403


def _forged(**claims: object) -> str:
    whole = {"iss": "lms-crm", "aud": "tenant:acme", "sub": "all", "scope": "status", "iat": 0, "exp": 2**31, **claims}
    return jwt.encode(whole, b"another key of 32 bytes, at least", "HS256")


def _unsigned() -> str:
    head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    return f"{head}.{_forged().split('.')[1]}."


def test_expired_forged_and_malformed_tokens_are_401(api: Api) -> None:
    over = Signer(KEY, lambda: time.time() - 3601).token("acme", "all", SCOPES)
    gone = Signer(KEY).token("acme", "struck_out", SCOPES)
    still_good = Signer(KEY, lambda: time.time() - 3590).token("acme", "all", SCOPES)
    for token in (over, gone, _forged(), _unsigned(), "x", "a.b.c", "ä", still_good[:-2]):
        header = [(b"Authorization", f"Bearer {token}".encode())]
        answer = api.http.get("/api/v1/tenants/acme/status", headers=header)
        assert answer.status_code == 401, token
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert api.http.get("/api/v1/tenants/acme/status").status_code == 401
    twice = [("Authorization", f"Bearer {still_good}")] * 2
    assert api.http.get("/api/v1/tenants/acme/status", headers=twice).status_code == 401
    good = {"Authorization": f"Bearer {still_good}"}
    assert api.http.get("/api/v1/tenants/acme/status", headers=good).status_code == 200


def test_a_scope_that_is_taken_from_the_contract_is_gone_at_once(api: Api) -> None:
    token = Signer(KEY).token("acme", "reader", ["changes", "status"])
    headers = {"Authorization": f"Bearer {token}"}
    assert api.http.get("/api/v1/tenants/acme/changes", headers=headers).status_code == 200
    assert api.http.get("/api/v1/tenants/acme/status", headers=headers).status_code == 403


def test_a_client_that_calls_too_often_is_told_when_to_come_again(api: Api) -> None:
    bearer = api.bearer(client="slow")
    for _ in range(20):
        answer = api.http.get("/api/v1/tenants/acme/changes", headers=bearer)
        if answer.status_code == 429:
            break
    assert answer.status_code == 429
    assert answer.json()["code"] == "TOO_MANY_REQUESTS"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["ratelimit-policy"] == '"client";q=2;w=1'
    assert answer.headers["ratelimit"].startswith('"client";r=0;t=')
    assert api.get("changes").headers["ratelimit-policy"] == '"client";q=10000;w=1'
