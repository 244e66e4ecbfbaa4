"""The gate before one system: every call to it passes here, and what came of the call is learned here.

A call waits for its turn (`pace`), for a breaker that is open (`breaker`) and for a place among the calls under way; it
is not made when the day's share is used up (`quota`). Rate, breaker and quota are shared by every process of the
store, and by all tenants that use the same credential at the same address.
"""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import structlog

from lms_crm_assets import interrupt
from lms_crm_assets.errors import (
    OutageError,
    QuotaReachedError,
    RateLimitedError,
    RetryableError,
    TooManyAtOnceError,
)
from lms_crm_assets.ops.breaker import Breaker, Verdict
from lms_crm_assets.ops.latency import note
from lms_crm_assets.ops.metrics import Side, count_call
from lms_crm_assets.ops.pace import Pace
from lms_crm_assets.ops.quota import Quota
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.telemetry.traces import span

_log = structlog.get_logger(__name__)

# Of a system that doesn't come back in this time the run ends; the next one goes on.
_GIVE_UP_SECONDS = 120.0
_PROBE_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 1.0
_DAY_SECONDS = 86_400.0
# So many calls without a refusal let one more be under way at once.
_WIDEN_AFTER = 50


def gate_name(address: str, credential: str) -> str:
    """Under which name rate and quota are shared; it doesn't tell the credential."""
    return f"{address} {hashlib.sha256(credential.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Pool:
    """Calls with a limit of their own; `is_part`: they count against the general limit too."""

    calls: int
    window_seconds: float
    is_part: bool


class Gate:
    """The gate before the system at `address`, entered with `credential`.

    `calls` in any `window_seconds` (None: no limit known), at most `at_once` under way in this process, up to
    `quota_share` of the day's calls; `pools` are limits of their own, by name; how long its calls take is noted of a system that is `watched` (`latency`). `traffic` counts what this gate saw: `calls`, `rate_limited`, `failed`.
    """

    def __init__(  # noqa: PLR0913 - one keyword an option
        self,
        store: OperationalStore,
        address: str,
        credential: str,
        *,
        calls: int | None,
        window_seconds: float = 10.0,
        at_once: int = 20,
        quota_share: float = 1.0,
        pools: Mapping[str, Pool] | None = None,
        watched: bool = False,
        side: Side = "crm",
    ) -> None:
        name = gate_name(address, credential)
        self.address = address
        self._side: Side = side
        self.traffic: Counter[str] = Counter()
        self.quota = Quota(store, name)
        self._pace = Pace(store, name, calls, window_seconds)
        self._paces = {"": [self._pace]} | {
            pool: [Pace(store, f"{name} {pool}", of.calls, of.window_seconds), *([self._pace] if of.is_part else [])]
            for pool, of in (pools or {}).items()
        }
        self._breaker = Breaker(store, address)
        self._watched_in = store if watched else None
        self._share = quota_share
        self._most = self._at_once = max(1, at_once)
        self._under_way = 0
        self._calm = 0
        self._room = threading.Condition()

    @contextmanager
    def call(self, *, urgent: bool = False, pool: str = "") -> Iterator[None]:
        """Make one call inside, of that pool; the error that leaves the block tells what came of it.

        `OutageError` when the system has not answered for minutes, `QuotaReachedError` when the day's share is used up;
        an urgent call (a person waits for it) is made all the same.
        """
        is_probe = False
        if not urgent:
            self._check_quota()
            is_probe = self._wait_for_breaker()
        self._enter()
        try:
            self._take_turn(pool, urgent=urgent, is_probe=is_probe)
            self._count("calls")
            started = time.monotonic()
            try:
                with span(f"{self._side} call", address=self.address):
                    yield
                if self._watched_in is not None:
                    with suppress(RetryableError):
                        note(self._watched_in, self.address, time.monotonic() - started)
            except BaseException as exc:
                self._tell(exc, time.monotonic() - started)
                # What came of the call counts, even where the store can't be told: an answer must not be lost by it.
                with suppress(RetryableError):
                    self._learn(exc, pool)
                raise
            self._tell(None, time.monotonic() - started)
            with suppress(RetryableError):
                self._breaker.succeeded()
            self._widen()
        finally:
            self._leave()

    def told_rate(self, calls: int) -> None:
        """The answer's headers say how many calls the window holds."""
        self._pace.told(calls)

    @property
    def had_used_its_share(self) -> bool:
        """Whether the day's share was used up by the last answer that told, of the last 24 hours: the day may be another."""
        return self.quota.is_used_up(self._share, _DAY_SECONDS) is not None

    def hold(self, seconds: float) -> None:
        """The answer's headers say that little is left: the next calls wait for so long."""
        self._pace.hold(seconds)

    def _tell(self, exc: BaseException | None, seconds: float) -> None:
        """Count the call and log it; of what went wrong the kind alone, whoever makes it again says more."""
        status = _status(exc)
        count_call(self._side, status, seconds)
        told = {"side": self._side, "status": status, "seconds": round(seconds, 3)}
        if exc is None:
            _log.debug("call", **told)
        elif isinstance(exc, RetryableError):
            asked = {} if exc.retry_after_seconds is None else {"retry_after_seconds": exc.retry_after_seconds}
            _log.info("call", **told, error=type(exc).__name__, address=self.address, **asked)
        else:
            _log.debug("call", **told, error=type(exc).__name__)

    def _learn(self, exc: BaseException, pool: str) -> None:
        match exc:
            case QuotaReachedError():
                self.quota.exhausted()
            case TooManyAtOnceError():
                self._count("rate_limited")
                self._narrow()
            case RateLimitedError():
                self._count("rate_limited")
                for pace in self._paces[pool]:
                    pace.refused(exc.retry_after_seconds)
            case RetryableError():
                self._count("failed")
                self._breaker.failed()
                return
        if isinstance(exc, Exception):
            self._breaker.succeeded()  # it answered, if not what was wished for

    def _check_quota(self) -> None:
        reached = self.quota.is_used_up(self._share)
        if reached is not None:
            used, allowed = reached
            _log.warning("quota_reached", address=self.address, used=used, allowed=allowed)
            raise QuotaReachedError(
                f"{used:,} of the {allowed:,} calls that {self.address} allows a day are used, and guardrails.quota_share"
                f" keeps {1 - self._share:.0%} for others: what is pending is sent by the next run"
            )

    def _wait_for_breaker(self) -> bool:
        """Wait until a call may be made; whether it is the one by which all see whether the system is back."""
        waited = 0.0
        while (state := self._breaker.ask()).verdict is Verdict.WAIT:
            # An open breaker may be old news: whoever comes while it is probed waits for what the probe finds.
            patience = _PROBE_PATIENCE_SECONDS if state.is_probed else 0.0
            if state.down_seconds + state.wait_seconds > _GIVE_UP_SECONDS and waited >= patience:
                _log.warning("outage", address=self.address, down_seconds=round(state.down_seconds))
                raise OutageError(
                    f"{self.address} has not answered for {state.down_seconds:.0f} s: what is pending is sent by the next run"
                )
            pause = min(state.wait_seconds, _LOOK_SECONDS)
            _sleep(pause)
            waited += pause
        return state.verdict is Verdict.PROBE

    def _take_turn(self, pool: str, *, urgent: bool, is_probe: bool) -> None:
        try:
            _sleep(max(pace.turn() for pace in self._paces[pool]))
            if not urgent:  # meanwhile an answer may have told that others used up the day's calls
                self._check_quota()
        except BaseException:
            if is_probe:
                with suppress(RetryableError):
                    self._breaker.give_back()
            raise

    def _count(self, what: str) -> None:
        with self._room:
            self.traffic[what] += 1

    def _enter(self) -> None:
        with self._room:
            self._room.wait_for(lambda: self._under_way < self._at_once)
            self._under_way += 1

    def _leave(self) -> None:
        with self._room:
            self._under_way -= 1
            self._room.notify()

    def _narrow(self) -> None:
        with self._room:
            self._at_once, self._calm = max(1, self._at_once // 2), 0

    def _widen(self) -> None:
        with self._room:
            self._calm += 1
            if self._calm >= _WIDEN_AFTER and self._at_once < self._most:
                self._at_once, self._calm = self._at_once + 1, 0
                self._room.notify()


def _status(exc: BaseException | None) -> str:
    match exc:
        case None:
            return "ok"
        case RateLimitedError() | TooManyAtOnceError():
            return "rate_limited"
        case RetryableError() if not isinstance(exc, QuotaReachedError):
            return "failed"
    return "refused"


def _sleep(seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait, but not past a person's wish to stop."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        interrupt.check()
        sleep(min(left, _LOOK_SECONDS))
