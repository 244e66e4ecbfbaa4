"""Counts of what a simulator was asked and of what it did."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Stats:
    """Counts of what happened, by route and by record operation."""

    requests: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    records: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def count_record(self, kind: str, operation: str, number: int = 1) -> None:
        """Note that `number` records of `kind` were `created`, `updated`, `archived`, `rejected` and so on."""
        self.records[kind][operation] += number

    def as_json(self) -> dict[str, Any]:
        """Both counters as plain dictionaries with text keys."""
        return {
            "requests": {
                route: {str(status): n for status, n in by_status.items()} for route, by_status in self.requests.items()
            },
            "records": {kind: dict(by_operation) for kind, by_operation in self.records.items()},
        }

    def clear(self) -> None:
        """Start counting anew."""
        self.requests.clear()
        self.records.clear()
