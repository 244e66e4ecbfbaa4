"""One figure, and how figures are shown and kept."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import page

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
    """Print the figures and keep them, in docs/benchmarks.md too; those of other parts stay as they were measured last."""
    for figure in figures:
        mark = "ok  " if figure.ok else "MISS"
        print(f"{mark} {figure.name}: {figure.value:,.2f} {figure.unit} (goal: at most {figure.goal:,.2f})")
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    found = {figure["name"]: figure for figure in kept} | {f.name: {**asdict(f), "ok": f.ok} for f in figures}
    RESULTS.write_text(json.dumps(list(found.values()), indent=2) + "\n", encoding="utf-8")
    page.PAGE.write_text(page.text(list(found.values())), encoding="utf-8")
    # It reckons with what was just measured.
    subprocess.run([sys.executable, "-m", "benchmarks.capacity"], cwd=page.ROOT, check=True, stdout=subprocess.DEVNULL)
