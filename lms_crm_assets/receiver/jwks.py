"""The public keys of those who sign with JWTs, fetched when a key is asked for that is not known."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog

from lms_crm_assets.receiver.writer import unavailable

_log = structlog.get_logger(__name__)

_FETCH_SECONDS = 4.0
_MOST_BYTES = 256 * 1024
# Keys are rotated monthly (facts: lms); one that is taken back counts an hour more at most.
_FRESH_SECONDS = 3600.0
# Strangers name keys too: an issuer is asked once in so long, whatever they name.
_PAUSE_SECONDS = 60.0


@dataclass
class _Held:
    keys: Sequence[Mapping[str, Any]] = ()
    fetched_at: float = float("-inf")
    asked_at: float = float("-inf")
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class KeySets:
    """Key sets by address; used from one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, _Held] = {}

    async def keys(self, url: str, key_id: str) -> Sequence[Mapping[str, Any]]:
        """The issuer's keys; a `Problem` (503) when there are none and it does not answer."""
        held = self._held.setdefault(url, _Held())
        if self._suffices(held, key_id):
            return held.keys
        async with held.lock:
            if not self._suffices(held, key_id) and self._clock() - held.asked_at >= _PAUSE_SECONDS:
                held.asked_at = self._clock()
                try:
                    held.keys = await _fetched(url)
                    held.fetched_at = self._clock()
                except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as exc:
                    _log.error("keys_not_fetched", url=url, error=type(exc).__name__)
        if not held.keys:
            raise unavailable("the issuer's public keys can't be fetched")
        return held.keys

    def _suffices(self, held: _Held, key_id: str) -> bool:
        is_fresh = self._clock() - held.fetched_at < _FRESH_SECONDS
        return is_fresh and any(key.get("kid", "") == key_id for key in held.keys)


async def _fetched(url: str) -> Sequence[Mapping[str, Any]]:
    content = bytearray()
    async with (
        asyncio.timeout(_FETCH_SECONDS),
        httpx.AsyncClient(timeout=_FETCH_SECONDS, follow_redirects=False) as client,
        client.stream("GET", url) as answer,
    ):
        answer.raise_for_status()
        async for part in answer.aiter_bytes():
            content += part
            if len(content) > _MOST_BYTES:
                raise ValueError("the key set is too large")
    document = httpx.Response(200, content=bytes(content)).json()
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise httpx.DecodingError("there are no keys in it")
    return [key for key in keys if isinstance(key, dict)]
