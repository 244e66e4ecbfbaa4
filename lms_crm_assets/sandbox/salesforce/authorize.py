"""`/services/oauth2/authorize` (Salesforce help, "OAuth 2.0 Web Server Flow"): what a person's browser sees.

A mistake of the app's own, a wrong client or address, is shown and leads nowhere; all else goes back to the app.
"""

from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from lms_crm_assets.sandbox.oauth_codes import Asked, is_registered

from .org import Org

_SCOPES = frozenset({"api", "refresh_token", "offline_access", "id", "openid", "web", "full"})
_DENIED = {"error": "access_denied", "error_description": "end-user denied authorization"}


async def authorize(org: Org, request: Request) -> Response:
    """The page that asks, or what follows a person's answer."""
    if request.method == "POST":
        form = dict(parse_qsl((await request.body()).decode(errors="replace")))
        leads_to = org.tokens.codes.decided(form, _DENIED)
        return RedirectResponse(leads_to, 302) if leads_to else _shown("invalid_request", "no such request")
    query = dict(request.query_params)
    if query.get("client_id") != org.tokens.client_id:
        return _shown("invalid_client_id", "client identifier invalid")
    if not is_registered(query.get("redirect_uri", "")):
        return _shown("redirect_uri_mismatch", "redirect_uri must match configuration")
    challenge = query.get("code_challenge")
    asked = Asked(query["redirect_uri"], query.get("scope", "api refresh_token"), query.get("state", ""), challenge)
    if refused := _refused(query, asked):
        return RedirectResponse(asked.back(**refused), 302)
    return HTMLResponse(org.tokens.codes.page("Allow access to the sandbox org?", asked))


def _refused(query: Mapping[str, str], asked: Asked) -> Mapping[str, str] | None:
    if query.get("response_type") != "code":
        return {"error": "unsupported_response_type", "error_description": "response type not supported"}
    if not _SCOPES.issuperset(asked.scope.split()):
        return {"error": "invalid_scope", "error_description": "the requested scope is not allowed"}
    if asked.challenge is None:  # as of an app that requires PKCE
        return {"error": "invalid_request", "error_description": "missing required code challenge"}
    if query.get("code_challenge_method", "S256") != "S256":
        return {"error": "invalid_request", "error_description": "invalid code challenge method"}
    return None


def _shown(error: str, description: str) -> Response:
    return PlainTextResponse(f"error={error}&error_description={description}", 400)
