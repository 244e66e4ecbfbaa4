"""The wire: one session that talks to the one configured address and to nobody else."""

import gzip
import re
import threading
from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from lms_crm_assets import exchanges
from lms_crm_assets.ops.retry_after import retry_after_seconds

# To connect, and between two bytes of an answer: a call may take Salesforce 10 minutes, ours take seconds.
_TIMEOUT_SECONDS = (10, 150)
_GZIP_FROM_BYTES = 1024
# A batch of 200 shrinks to a tenth at the lowest level already.
_GZIP_LEVEL = 1
_USAGE = re.compile(r"(?<![\w-])api-usage=(\d{1,15})/(\d{1,15})", re.ASCII)


class OneHostSession(requests.Session):
    """Sends every request to the one configured address, with time limits, following no redirect and trying nothing twice.

    `told` hears of the calls used and allowed a day, which every answer tells.
    """

    def __init__(self, base_url: str, connections: int, told: Callable[[int, int], None]) -> None:
        super().__init__()
        self._base = urlsplit(base_url)
        self._told = told
        self._local = threading.local()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.mount(f"{self._base.scheme}://", HTTPAdapter(pool_maxsize=connections, max_retries=0))

    def request(self, method: str, url: str, *args: Any, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send to the path and query of `url`, wherever it points."""
        here = urlsplit(url)._replace(scheme=self._base.scheme, netloc=self._base.netloc).geturl()
        options["timeout"] = options.get("timeout") or _TIMEOUT_SECONDS
        options["allow_redirects"] = False
        return super().request(method, here, *args, **options)

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Send, JSON compressed; whether an upload to a bulk job may be is not known (facts: salesforce, REST)."""
        json = request.headers.get("Content-Type", "").startswith("application/json")
        if json and isinstance(request.body, bytes) and len(request.body) >= _GZIP_FROM_BYTES:
            request.body = gzip.compress(request.body, _GZIP_LEVEL, mtime=0)
            request.headers.update({"Content-Encoding": "gzip", "Content-Length": str(len(request.body))})
        form = request.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
        self._local.retry_after = None
        response = super().send(request, **options)
        self._local.retry_after = retry_after_seconds(response.headers)
        # Tokens are asked for by forms; what is streamed is a bulk job's file.
        if exchanges.heard() and not form and not options.get("stream"):
            exchanges.tell(_told(request, response))
        if usage := _USAGE.search(response.headers.get("Sforce-Limit-Info", "")):
            self._told(int(usage[1]), int(usage[2]))
        return response

    @property
    def retry_after_seconds(self) -> float | None:
        """How long this thread's last answer asked to wait; simple-salesforce's errors don't carry it."""
        found: float | None = getattr(self._local, "retry_after", None)
        return found


def _told(request: requests.PreparedRequest, response: requests.Response) -> exchanges.Exchange:
    """Without a body that was sent: only reads are recorded."""
    return exchanges.Exchange(
        "crm",
        str(request.method),
        str(request.url),
        "",
        b"",
        response.status_code,
        response.headers,
        response.content,
    )
