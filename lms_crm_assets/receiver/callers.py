"""Who calls a route: a tenant's client, by its access token; what it may do, and how often."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.security import OAuth2
from starlette.concurrency import run_in_threadpool

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.webhooks import Client, Scope
from lms_crm_assets.ops.allowance import Allowance, Taken
from lms_crm_assets.receiver.bodies import TenantName
from lms_crm_assets.receiver.connector import Connector, TheConnector
from lms_crm_assets.receiver.problems import Problem
from lms_crm_assets.receiver.service import Service, service_of

SCOPES: Mapping[str, str] = {
    "write": "Send rows (`:batchUpsert`).",
    "changes": "Read the change feed, which holds learner data.",
    "rejections": "Read what was refused, with codes.",
    "status": "Read mode, lag and depth.",
}


@dataclass(frozen=True)
class Caller:
    """Who calls: a tenant's client, with what its token and its contract allow."""

    tenant: str
    contract: Contract
    client: Client
    scopes: frozenset[str]


def client_of(scope: Scope) -> Any:
    """The dependency of a route: gives its `Caller`.

    A `Problem`: 401 without a good token, 403 when it is for another tenant or lacks the scope, 429 when the client calls
    too often.
    """
    scheme = OAuth2(
        flows={"clientCredentials": {"tokenUrl": "/api/v1/tenants/{tenant}/token", "scopes": dict(SCOPES)}},
        scheme_name="oauth2",
        auto_error=False,
    )

    async def caller(
        tenant: TenantName, request: Request, connector: TheConnector, _: Annotated[str | None, Depends(scheme)]
    ) -> Caller:
        found = await _caller(service_of(request), connector, tenant, request.headers.getlist("authorization"))
        if scope not in found.scopes:
            raise _refused(403, "insufficient_scope", f"the token lacks the scope '{scope}'", scope)
        request.state.rate_headers = await run_in_threadpool(check_rate, connector, tenant, found.client)
        return found

    return Depends(caller)


async def _caller(service: Service, connector: Connector, tenant: str, authorization: list[str]) -> Caller:
    scheme, _, token = authorization[0].partition(" ") if len(authorization) == 1 else ("", "", "")
    if scheme.lower() != "bearer":
        raise Problem(
            401,
            "this needs `Authorization: Bearer` with a token of /api/v1/tenants/{tenant}/token",
            headers={"WWW-Authenticate": 'Bearer realm="lms-crm"'},
        )
    claims = connector.signer.claims(token.strip())
    if claims is None:
        raise _refused(401, "invalid_token", "the token is not one of ours, or is over: get a new one")
    if claims["aud"] != f"tenant:{tenant}":
        raise _refused(403, "insufficient_scope", "the token is for another tenant")
    contract = await service.tenants.find(tenant)
    client = next((each for each in contract.clients if each.id == claims["sub"]), None) if contract else None
    if contract is None or client is None:
        raise _refused(401, "invalid_token", "there is no such client any more")
    return Caller(tenant, contract, client, frozenset(str(claims["scope"]).split()) & frozenset(client.scopes))


def _refused(status: int, error: str, detail: str, scope: str | None = None) -> Problem:
    """RFC 6750, 3."""
    wanted = f', scope="{scope}"' if scope else ""
    return Problem(
        status,
        detail,
        code=error.upper(),
        headers={"WWW-Authenticate": f'Bearer realm="lms-crm", error="{error}"{wanted}'},
    )


def _allowance(connector: Connector, tenant: str, client: Client) -> Allowance:
    rate = client.requests_per_second
    return Allowance(connector.calls, f"client {tenant} {client.id}", rate, max(1, round(rate)))


def check_rate(connector: Connector, tenant: str, client: Client) -> dict[str, str]:
    """Count a call, and give the RateLimit headers of its answer; a `Problem` (429) when it is one too many."""
    allowance = _allowance(connector, tenant, client)
    taken = allowance.take()
    headers = _rate_headers(allowance, taken)
    if not taken.allowed:
        raise Problem(
            429,
            f"this client may call {client.requests_per_second:g} times a second",
            headers={"Retry-After": retry_after(taken), **headers},
        )
    return headers


def _rate_headers(allowance: Allowance, taken: Taken) -> dict[str, str]:
    """The IETF draft's headers: the policy, and what is left of it."""
    return {
        "RateLimit-Policy": f'"client";q={allowance.burst};w={allowance.window_seconds}',
        "RateLimit": f'"client";r={taken.remaining};t={max(0, math.ceil(taken.full_in_seconds))}',
    }


def retry_after(taken: Taken) -> str:
    """Whole seconds after a refusal."""
    return str(max(1, math.ceil(taken.retry_after_seconds)))
