"""The log of requests in the order of their arrival, so that tests can judge what came after what."""

import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

KEPT_CALLS = 100_000


@dataclass(slots=True)
class LoggedCall:
    """One request. `at` is in seconds since 1970; `status` is what the system answered, null while it works.

    `cut` says that a fault closed the connection: the client saw no answer, with or without the work done.
    """

    n: int
    at: float
    method: str
    path: str
    status: int | None = None
    cut: bool = False


class CallLog:
    """The last calls; numbers go on rising when it is cleared, so that `after` stays true over a reset."""

    def __init__(self) -> None:
        """Start with none."""
        self._calls: deque[LoggedCall] = deque(maxlen=KEPT_CALLS)
        self._last = 0

    def arrived(self, method: str, path: str) -> LoggedCall:
        """Note a request; the rest is filled in when it is answered."""
        self._last += 1
        call = LoggedCall(self._last, time.time(), method, path)
        self._calls.append(call)
        return call

    def as_json(self, after: int) -> dict[str, Any]:
        """The calls whose number is above `after`."""
        return {"last": self._last, "calls": [asdict(call) for call in self._calls if call.n > after]}

    def clear(self) -> None:
        """Forget the calls."""
        self._calls.clear()
