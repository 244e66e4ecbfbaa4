"""`/oauth/authorize` of the app's host (HubSpot documentation, "OAuth"): what a person's browser sees.

Every mistake of the app's own is shown and leads nowhere. PKCE is not asked for, but whoever begins with it has to end it.
"""

import re
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from lms_crm_assets.sandbox.hubspot.auth import Auth
from lms_crm_assets.sandbox.oauth_codes import Asked, is_registered

_SCOPE = re.compile(r"oauth|crm\.(objects|schemas)\.[a-z_]+\.(read|write)")
_DENIED = {"error": "access_denied", "error_description": "The user denied access to the app"}


async def authorize(auth: Auth, request: Request) -> Response:
    """The page that asks, or what follows a person's answer."""
    if request.method == "POST":
        form = dict(parse_qsl((await request.body()).decode(errors="replace")))
        leads_to = auth.codes.decided(form, _DENIED)
        return RedirectResponse(leads_to, 302) if leads_to else _shown("there is no such request")
    query = dict(request.query_params)
    if query.get("client_id") != auth.client_id:
        return _shown("the client id is missing or unknown")
    if not is_registered(query.get("redirect_uri", "")):
        return _shown("the redirect URL does not match the one that is registered for the app")
    scope = query.get("scope", "")
    if not scope or not all(_SCOPE.fullmatch(each) for each in scope.split()):
        return _shown("there is a scope mismatch between the URL and the app")
    if query.get("code_challenge_method", "S256") != "S256":
        return _shown("the code challenge method is not supported")
    asked = Asked(query["redirect_uri"], scope, query.get("state", ""), query.get("code_challenge"))
    return HTMLResponse(auth.codes.page("Connect the app to the sandbox portal?", asked))


def _shown(why: str) -> Response:
    return PlainTextResponse(f"Authorization failed because {why}.", 400)
