"""Speaking to a sandbox's control routes: records, statistics, faults, changes behind the product's back."""

from collections import Counter
from typing import Any

import httpx


def records(address: str, kind: str) -> list[dict[str, Any]]:
    """Every record of one object, as the simulated system stores it."""
    found: list[dict[str, Any]] = _get(f"{address}/_sandbox/records/{kind}")["records"]
    return found


def requests(address: str) -> dict[str, dict[str, int]]:
    """Requests by `METHOD route` and status."""
    found: dict[str, dict[str, int]] = statistics(address)["requests"]
    return found


def statistics(address: str) -> dict[str, Any]:
    """The counters: requests, and records by object and operation."""
    return _get(f"{address}/_sandbox/stats")


def writes(address: str) -> Counter[str]:
    """Requests that change something, by route."""
    found: Counter[str] = Counter()
    for route, by_status in requests(address).items():
        method, _, path = route.partition(" ")
        if method not in {"GET", "HEAD"} and "oauth" not in path and not path.endswith(("/search", "/batch/read")):
            found[path] += sum(by_status.values())
    return found


def fault(address: str, *faults: dict[str, Any], seed: int = 0) -> None:
    """Switch these faults on, and all others off."""
    _post(f"{address}/_sandbox/faults", {"faults": list(faults), "seed": seed})


def mutate(address: str, **change: Any) -> dict[str, Any]:
    """Change a record as a person in the system would."""
    return _post(f"{address}/_sandbox/mutate", change)


def _get(url: str) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(url, timeout=60).raise_for_status().json()
    return answer


def _post(url: str, body: Any) -> dict[str, Any]:
    response = httpx.post(url, json=body, timeout=60)
    assert response.is_success, response.text
    answer: dict[str, Any] = response.json()
    return answer
