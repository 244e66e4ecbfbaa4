"""Access tokens for machine clients: OAuth 2.0 client credentials (RFC 6749, 4.4), answered with a signed JWT of an hour.

A token is bound to a tenant, a client and scopes. It is good only while the contract names the client and its scopes, so
that who is struck out of the contract is out at once.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote_plus

import orjson
import structlog
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.webhooks import Client
from lms_crm_assets.errors import CredentialError
from lms_crm_assets.ops.allowance import Allowance
from lms_crm_assets.receiver.bodies import TenantName, read_body
from lms_crm_assets.receiver.callers import SCOPES, check_rate, retry_after
from lms_crm_assets.receiver.connector import Connector, TheConnector
from lms_crm_assets.receiver.problems import Problem, documented
from lms_crm_assets.receiver.service import Service, service_of
from lms_crm_assets.receiver.signer import LIFETIME_SECONDS

_log = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/v1/tenants", tags=["tokens"])

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
# Of wrong secrets, for each tenant: guessing is hopeless, and what it costs us is bounded.
_GUESSES_PER_SECOND, _GUESSES_AT_ONCE = 5.0, 50
_FORM = "application/x-www-form-urlencoded"
_NOBODY = secrets.token_bytes(32)
"""The secret that clients are compared with who are none."""

_FORM_SCHEMA = {
    "type": "object",
    "required": ["grant_type"],
    "properties": {
        "grant_type": {"type": "string", "enum": ["client_credentials"]},
        "scope": {"type": "string", "description": f"Some of: {', '.join(SCOPES)}; all that it may without it."},
        "client_id": {"type": "string"},
        "client_secret": {"type": "string"},
    },
}


class TokenAnswer(BaseModel):
    """An access token (RFC 6749, 5.1)."""

    model_config = ConfigDict(extra="forbid")

    access_token: str = Field(description="What goes into `Authorization: Bearer`.")
    token_type: str = Field(description="`Bearer`.")
    expires_in: int = Field(description="Seconds that it is good for.")
    scope: str = Field(description="What it is good for, separated by blanks.")


class TokenError(BaseModel):
    """Why there is no token (RFC 6749, 5.2)."""

    model_config = ConfigDict(extra="forbid")

    error: str = Field(description="`invalid_client`, `invalid_scope`, `invalid_request`, `unsupported_grant_type` …")
    error_description: str = Field(description="The same for a person.")


class _TokenRefusedError(Exception):
    """No token, with RFC 6749's word for the reason."""

    def __init__(
        self, error: str, description: str, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.error, self.description, self.status, self.headers = error, description, status, headers or {}


@router.post(
    "/{tenant}/token",
    tags=["tokens"],
    summary="Get an access token",
    description="OAuth 2.0 client credentials. The client identifies itself with `Authorization: Basic`, or with"
    " `client_id` and `client_secret` in the form.",
    response_model=TokenAnswer,
    responses={
        400: {
            **documented(400)[400],
            "description": "The request is malformed, or asks for more than the client may.",
            "model": TokenError,
        },
        401: {"description": "There is no such tenant or client, or its secret is wrong.", "model": TokenError},
        **documented(405, 408, 413, 415, 429, 500, 503),
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {_FORM: {"schema": _FORM_SCHEMA}}},
    },
)
async def token(tenant: TenantName, request: Request, connector: TheConnector) -> Response:
    """Hand out a token."""
    body = await read_body(request, _FORM)
    authorization = request.headers.getlist("authorization")
    try:
        answer = await _token(service_of(request), connector, tenant, body, authorization)
    except _TokenRefusedError as exc:
        return Response(
            orjson.dumps({"error": exc.error, "error_description": exc.description}),
            exc.status,
            {**_NO_STORE, **exc.headers},
            media_type="application/json",
        )
    return Response(answer.model_dump_json(), 200, _NO_STORE, media_type="application/json")


async def _token(
    service: Service, connector: Connector, tenant: str, body: bytes, authorization: list[str]
) -> TokenAnswer:
    form = _form(body)
    client_id, secret, by_basic = _client_credentials(form, authorization)
    client = _identified(service, await service.tenants.find(tenant), client_id, secret)
    if client is None:
        guesses = Allowance(connector.calls, "guesses", _GUESSES_PER_SECOND, _GUESSES_AT_ONCE)
        taken = await run_in_threadpool(guesses.take)
        if not taken.allowed:
            raise Problem(429, "too many wrong credentials", headers={"Retry-After": retry_after(taken)})
        raise _TokenRefusedError(
            "invalid_client",
            "there is no such tenant or client, or its secret is wrong",
            401,
            {"WWW-Authenticate": 'Basic realm="lms-crm"'} if by_basic or authorization else {},
        )
    await run_in_threadpool(check_rate, connector, tenant, client)
    if form.get("grant_type") is None:
        raise _TokenRefusedError("invalid_request", "grant_type is missing")
    if form["grant_type"] != "client_credentials":
        raise _TokenRefusedError("unsupported_grant_type", "grant_type has to be client_credentials")
    asked = form.get("scope", "").split()
    if set(asked) - set(client.scopes):
        raise _TokenRefusedError("invalid_scope", f"this client may have: {' '.join(client.scopes)}")
    scopes = [scope for scope in client.scopes if scope in asked or not asked]
    return TokenAnswer(
        access_token=connector.signer.token(tenant, client.id, list(scopes)),
        token_type="Bearer",  # noqa: S106 - RFC 6750's word
        expires_in=LIFETIME_SECONDS,
        scope=" ".join(scopes),
    )


def _form(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(body), errors="strict", max_num_fields=20
        )
    except ValueError:
        raise _TokenRefusedError("invalid_request", "the body is no form") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _TokenRefusedError("invalid_request", "a parameter is there twice")
    # RFC 6749, 3.2: what is there without a value counts as left out.
    return {name: value for name, value in found.items() if value}


def _client_credentials(form: Mapping[str, str], authorization: list[str]) -> tuple[str, str, bool]:
    """The client's id and secret, and whether they came by HTTP basic authentication."""
    in_form = "client_id" in form or "client_secret" in form
    if not authorization:
        return form.get("client_id", ""), form.get("client_secret", ""), False
    if "client_secret" in form or len(authorization) > 1:
        raise _TokenRefusedError("invalid_request", "the client identifies itself in more than one way")
    scheme, _, given = authorization[0].partition(" ")
    try:
        opened = base64.b64decode(given.strip(), validate=True).decode("ascii") if scheme.lower() == "basic" else ""
    except (binascii.Error, ValueError):
        opened = ""
    # Both are form-encoded before they are joined (RFC 6749, 2.3.1).
    client_id, _, secret = (unquote_plus(part) for part in opened.partition(":"))
    if in_form and form.get("client_id") != client_id:
        raise _TokenRefusedError("invalid_request", "client_id is another one than that of Authorization")
    return client_id, secret, True


def _identified(service: Service, contract: Contract | None, client_id: str, secret: str) -> Client | None:
    """The client whose secret this is; whatever is wrong, a secret is compared."""
    found = next((client for client in contract.clients if client.id == client_id), None) if contract else None
    expected = _NOBODY
    if contract is not None and found is not None:
        try:
            [expected] = service.secrets.values(contract.tenant, [found.secret])
        except CredentialError as exc:
            _log.error("client_secret_missing", client=client_id, reason=str(exc))
            found = None
    right = hmac.compare_digest(secret.encode("utf-8", "surrogatepass"), expected)
    return found if right else None
