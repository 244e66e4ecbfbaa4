"""Where the LMS and the CRM deliver: verified, kept, and then said to be.

What is delivered is a hint that something changed. Whether it makes sense is found out later; here it has only to be
from whom it says it is, and readable.
"""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import orjson
import structlog
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.datastructures import QueryParams
from starlette.types import Scope

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.webhooks import (
    BearerVerifier,
    CrmVerifier,
    HmacVerifier,
    HubSpotVerifier,
    JwtVerifier,
    StandardVerifier,
    TokenVerifier,
    Verifier,
)
from lms_crm_assets.errors import CredentialError
from lms_crm_assets.ops.inbox import Delivery, Side
from lms_crm_assets.receiver import identity, verifiers
from lms_crm_assets.receiver.identity import Identity
from lms_crm_assets.receiver.limits import header_of
from lms_crm_assets.receiver.problems import Problem, documented
from lms_crm_assets.receiver.service import Service, service_of
from lms_crm_assets.receiver.soap import ACK, NotXmlError, notification_ids
from lms_crm_assets.receiver.strict_json import NotJsonError, read_json
from lms_crm_assets.receiver.verifiers import Received, RefusedError
from lms_crm_assets.receiver.writer import unavailable

_log = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/v1/hooks", tags=["hooks"])

JSON, JWT, XML = "application/json", "application/jwt", "text/xml"
_UTF_8 = frozenset({"utf-8", "utf8", '"utf-8"', "us-ascii"})

_NOBODY = secrets.token_bytes(32)
"""The secret with which deliveries to nobody are verified, so that they take as long as others."""


class Accepted(BaseModel):
    """The delivery is kept; a repeat of it is answered with the same."""

    status: str = Field(description="`accepted`, the first time and each other time.", pattern="^accepted$")
    delivery_id: str = Field(description="The id under which it is kept.")


_ERRORS = documented(
    400, 401, 404, 405, 408, 413, 415, 500, 503,
    _400="The body is no JSON, or ambiguous (a key twice, NaN, NUL, not UTF-8), or nested deeper than 64.",
    _401="No verifier of the tenant accepts it: signature, secret, id or timestamp (±300 s) are missing or wrong.",
    _404="There is no such tenant, or it takes no deliveries of this side.",
    _408="It did not arrive within 5 seconds; the connection is closed.",
    _413="It is larger than 256 KiB, or would be when it is unpacked.",
    _415="It is not JSON, nor one of the other types that this address takes.",
    _503="It could not be kept now, and is not: send it again.",
)  # fmt: skip
# Declared here and not to the framework, which would say that it may answer 422.
_TENANT = {
    "name": "tenant",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "Whose it is.",
}
_OBJECT_OR_LIST = {"schema": {"type": ["object", "array"]}}
_OF_THE_LMS: dict[str, Any] = {
    "requestBody": {"required": True, "content": {JSON: _OBJECT_OR_LIST, JWT: {"schema": {"type": "string"}}}},
    "parameters": [_TENANT],
}


@router.post(
    "/{tenant}",  # noqa: FAST003 - see _TENANT
    status_code=202,
    response_model=Accepted,
    responses=_ERRORS,
    openapi_extra=_OF_THE_LMS,
)
async def deliver(request: Request) -> Response:
    """Take a delivery of the LMS. 202 means that it is on the disk."""
    return await take(service_of(request), request.scope, await request.body(), request.path_params["tenant"], Side.LMS)


@router.post(
    "/{tenant}/statements",  # noqa: FAST003 - see _TENANT
    status_code=200,
    response_model=Accepted,
    responses=_ERRORS,
    openapi_extra=_OF_THE_LMS,
)
async def deliver_statements(request: Request) -> Response:
    """Take xAPI statements of the LMS as a learning record store does. 200 means that they are on the disk.

    Moodle's xAPI logstore appends `/statements` to the address that it is given, and takes all but 200 for a failure.
    """
    return await take(
        service_of(request), request.scope, await request.body(), request.path_params["tenant"], Side.LMS, status=200
    )


@router.post(
    "/{tenant}/crm",  # noqa: FAST003 - see _TENANT
    status_code=202,
    response_model=Accepted,
    responses={
        **_ERRORS,
        200: {
            "description": "An outbound message of Salesforce is kept: its acknowledgement.",
            "content": {XML: {"schema": {"type": "string"}}},
        },
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {JSON: _OBJECT_OR_LIST, XML: {"schema": {"type": "string"}}},
        },
        "parameters": [
            _TENANT,
            {
                "name": "token",
                "in": "query",
                "required": False,
                "schema": {"type": "string"},
                "description": "The bearer secret of an outbound message, which can send no header.",
            },
        ],
    },
)
async def deliver_crm(request: Request) -> Response:
    """Take a delivery of the CRM. 202 (200 for an outbound message) means that it is on the disk."""
    return await take(service_of(request), request.scope, await request.body(), request.path_params["tenant"], Side.CRM)


async def take(service: Service, scope: Scope, body: bytes, tenant: str, side: Side, *, status: int = 202) -> Response:
    """Verify and keep a delivery; the answer, of that status, says that it is on the disk."""
    label, result = "", "refused"
    try:
        kind = _kind(scope, side)
        contract = await service.tenants.find(tenant)
        asked = _asked(contract, side)
        label = tenant if asked else ""
        received = _received(scope, body, contract, kind)
        content = _Content.read(received.body, kind)
        if not asked or contract is None:
            _refuse_for_nobody(received, content, side, service.clock())
        found, kind = await _Door(service, tenant, asked, received, content, kind).identity()
        delivery = Delivery(tenant, side, found.delivery_id, kind, received.body, found.essence)
        result = (await service.writer.keep(delivery)).value
    except Problem as problem:
        result = str(problem.status)
        raise
    finally:
        service.metrics.count(label, side.value, result)
    if kind == XML:
        return Response(ACK, 200, media_type=XML)
    return Response(
        orjson.dumps({"status": "accepted", "delivery_id": found.delivery_id}), status, media_type="application/json"
    )


async def not_taken(service: Service, tenant: str, side: Side, status: int) -> None:
    """Count a delivery that was answered before anybody looked at it: too large, too slow, by another method."""
    label = ""
    with suppress(Problem):  # a broken contract is told to those that come with a delivery
        label = tenant if _asked(await service.tenants.find(tenant), side) else ""
    service.metrics.count(label, side.value, str(status))


def _asked(contract: Contract | None, side: Side) -> Sequence[Verifier | CrmVerifier]:
    """Who verifies deliveries of this side; nobody where there is no such tenant."""
    if contract is None:
        return []
    return contract.webhooks.lms if side is Side.LMS else contract.webhooks.crm


def _kind(scope: Scope, side: Side) -> str:
    """Which of the types that this side sends the body is said to be."""
    media_type, _, parameters = header_of(scope, b"content-type").decode("latin-1").partition(";")
    media_type = media_type.strip().lower()
    if media_type.startswith("application/") and media_type.endswith("+json"):
        media_type = JSON
    taken = (JSON, JWT) if side is Side.LMS else (JSON, XML)
    if media_type not in taken:
        raise Problem(415, f"the body has to be {' or '.join(taken)}")
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().lower().partition("=")
        if name == "charset" and value not in _UTF_8:
            raise Problem(415, "the body has to be in UTF-8")
    return media_type


def _received(scope: Scope, body: bytes, contract: Contract | None, kind: str) -> Received:
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    public_url = None if contract is None else contract.webhooks.public_url
    base = public_url or f"{scope['scheme']}://{header_of(scope, b'host').decode('latin-1')}"
    tokens = QueryParams(query).getlist("token") if kind == XML else []
    token = tokens[0].encode("utf-8", "surrogatepass") if len(tokens) == 1 else None
    url = f"{base}{path}{'?' + query if query else ''}"
    return Received(scope["method"], url, scope["headers"], body, token)


@dataclass(frozen=True, slots=True)
class _Content:
    """A body as it was read, or why it can't be."""

    document: Any = None
    notifications: tuple[str, ...] = ()
    mistake: str = ""

    @classmethod
    def read(cls, body: bytes, kind: str) -> "_Content":
        try:
            if kind == XML:
                return cls(notifications=tuple(notification_ids(body)))
            return cls() if kind == JWT else cls(read_json(body))
        except (NotJsonError, NotXmlError) as exc:
            return cls(mistake=str(exc))

    def check(self, kind: str) -> None:
        """Refuse what can't be read, once it is known to be from somebody."""
        if self.mistake:
            raise Problem(400, self.mistake, code="INVALID_XML" if kind == XML else "INVALID_JSON")


@dataclass(frozen=True, slots=True)
class _Door:
    """One delivery before the verifiers of its tenant."""

    service: Service
    tenant: str
    asked: Sequence[Verifier | CrmVerifier]
    received: Received
    content: _Content
    kind: str

    async def identity(self) -> tuple[Identity, str]:
        """Which delivery it is, and of which type, by the first verifier that accepts it."""
        reasons: list[str] = []
        unusable = False
        for verifier in self.asked:
            try:
                return await self._by(verifier)
            except RefusedError as exc:
                reasons.append(f"{verifier.verify}: {exc}")
            except NotJsonError as exc:
                raise Problem(400, str(exc), code="INVALID_JSON") from None
            except CredentialError as exc:
                unusable = True
                _log.error("secret_missing", tenant=self.tenant, error=str(exc))
        if unusable:
            # It may be a good one: the sender shall come again, when the operator has mended that.
            raise unavailable("a secret of the tenant is missing; its operator has been told")
        _log.info("delivery_refused", tenant=self.tenant, reasons=reasons)
        if any(isinstance(verifier, TokenVerifier) for verifier in self.asked):
            self.content.check(self.kind)
        raise Problem(
            401,
            "no verifier of this tenant accepts the delivery: check the secret, that the body is sent as it was signed,"
            " and that its timestamp is within 300 seconds",
        )

    async def _by(self, verifier: Verifier | CrmVerifier) -> tuple[Identity, str]:
        now, received, body = self.service.clock(), self.received, self.received.body
        if isinstance(verifier, JwtVerifier) and self.kind != XML:
            return await self._by_jwt(verifier, now)
        if self.kind == JWT or (self.kind == XML and not isinstance(verifier, BearerVerifier)):
            raise RefusedError("it is not for a body of this type")
        found = None
        match verifier:
            case StandardVerifier():
                keys = [verifiers.standard_key(each.decode()) for each in self._secrets(verifier.secrets)]
                found = Identity(verifiers.standard(received, keys, now))
            case HmacVerifier():
                verifiers.hex_hmac(received, verifier.header, self._secrets(verifier.secrets))
                found = identity.of_thinkific(self.content.document, body)
            case TokenVerifier():
                verifiers.body_token(self.content.document, verifier.member, self._secrets(verifier.secrets))
            case BearerVerifier():
                verifiers.authorization(received, self._secrets(verifier.secrets))
                if self.kind == XML:
                    found = identity.of_notifications(list(self.content.notifications), body)
            case HubSpotVerifier():
                [secret] = self._secrets([verifier.client_secret])
                verifiers.hubspot(received, secret, now)
                found = identity.of_hubspot(self.content.document, body)
        self.content.check(self.kind)
        return found or identity.of_body(body), self.kind

    async def _by_jwt(self, verifier: JwtVerifier, now: float) -> tuple[Identity, str]:
        name = verifiers.key_id(self.received.body)
        keys = await self.service.key_sets.keys(verifier.jwks_url, name)
        claims = verifiers.signed_claims(
            self.received.body, keys, issuer=verifier.issuer, audience=verifier.audience, now=now
        )
        return identity.of_claims(claims), JWT

    def _secrets(self, refs: Sequence[str]) -> list[bytes]:
        return self.service.secrets.values(self.tenant, refs)


def _refuse_for_nobody(received: Received, content: _Content, side: Side, now: float) -> NoReturn:
    """Do what is done for a tenant with one verifier of each kind, and answer 404."""
    for verify in (
        lambda: verifiers.standard(received, [_NOBODY], now),
        lambda: verifiers.hex_hmac(received, "X-Thinkific-Hmac-Sha256", [_NOBODY]),
        lambda: verifiers.body_token(content.document, "token", [_NOBODY]),
        lambda: verifiers.authorization(received, [_NOBODY]),
        lambda: verifiers.hubspot(received, _NOBODY, now),
    ):
        try:
            verify()
        except RefusedError:
            continue
    raise Problem(404, f"there is no tenant that takes deliveries here from its {side.value.upper()}")
