"""The capacity model's examples are what it reckons, and what it calls measured was measured."""

import json
import re
from pathlib import Path

from benchmarks import capacity

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


def test_the_examples_are_what_the_model_reckons() -> None:
    assert re.findall(r"^\| [\d,]+ × .*$", TEXT, re.MULTILINE) == [capacity.row(*case) for case in capacity.CASES]


def test_what_is_called_measured_is_near_what_was_measured_last() -> None:
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    found = {each["name"]: each["value"] for each in results}
    restored = found["restore of a warehouse with 1,000,000 × 12 values, with the first delta"]
    told = {
        figure: float(value.replace(",", ""))
        for figure, value in re.findall(r"^\| (.+) \| ([\d,]+) \w+ \|", TEXT, re.MULTILINE)
    }

    # The model may stay as it is while a busy machine's figures move; not when they are others.
    assert restored / 2 < capacity.DELTA_SECONDS_A_RECORD * 1e6 < restored
    peak = found["reconcile 100k learners, 500k enrollments: peak memory"]
    assert 0.5 < told["a reconciliation of 100,000 learners with 500,000 enrollments: memory"] / peak < 2
    peak = found["restore of a warehouse with 1,000,000 × 12 values: peak memory of the first delta"]
    assert 0.5 < told["its memory"] / peak < 2
