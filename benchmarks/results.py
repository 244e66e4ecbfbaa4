"""One figure, and how figures are shown and kept."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Figure:
    """A measured value with the goal that it has to stay at or under."""

    name: str
    value: float
    goal: float
    unit: str

    @property
    def ok(self) -> bool:
        """Whether the goal is met."""
        return self.value <= self.goal


def show(figures: list[Figure]) -> None:
    """Print the figures and keep them."""
    for figure in figures:
        mark = "ok  " if figure.ok else "MISS"
        print(f"{mark} {figure.name}: {figure.value:,.2f} {figure.unit} (goal: at most {figure.goal:,.2f})")
    RESULTS.write_text(json.dumps([{**asdict(f), "ok": f.ok} for f in figures], indent=2) + "\n", encoding="utf-8")
