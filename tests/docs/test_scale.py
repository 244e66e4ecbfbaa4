"""The capacity model's examples are what it reckons, and what it calls measured was measured."""

import json
import re
from pathlib import Path

from benchmarks import capacity

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


def test_the_examples_are_what_the_model_reckons() -> None:
    assert capacity.with_table(TEXT) == TEXT, "python -m benchmarks.capacity"


def test_calls_are_those_that_were_counted_in_the_sandbox() -> None:
    """Of a school of 500 learners with five objects, once loaded into an empty portal, then with some rows changed."""
    school = [(500, 0), (7, 0), (500, 2), (500, 2), (500, 2)]
    first = [capacity.Part(0, rows, rows, parents) for rows, parents in school]
    assert capacity.calls_of("hubspot", first) == 89
    assert capacity.calls_of("salesforce", [capacity.Part(0, each) for each in (550, 7, 550, 550, 550)]) == 43

    written = [5, 1, 0, 5, 0]
    later = [capacity.Part(rows, some, 0, parents) for (rows, parents), some in zip(school, written, strict=True)]
    assert capacity.calls_of("hubspot", later) == 29

    written = [5, 1, 5, 5, 5]
    pulled = [capacity.Part(rows, some, 0, parents) for (rows, parents), some in zip(school, written, strict=True)]
    assert capacity.calls_of("hubspot", pulled, incremental=True) == 47


def test_what_is_called_measured_is_near_what_was_measured_last() -> None:
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    found = {each["name"]: each["value"] for each in results}
    told = {
        figure: float(value.replace(",", ""))
        for figure, value in re.findall(r"^\| (.+) \| ([\d,]+) \w+ \|", TEXT, re.MULTILINE)
    }

    # The model may stay as it is while a busy machine's figures move; not when they are others.
    peak = found["reconcile 100k learners, 500k enrollments: peak memory"]
    assert 0.5 < told["a reconciliation of 100,000 learners with 500,000 enrollments: memory"] / peak < 2
    peak = found["restore of a warehouse with 1,000,000 × 12 values: peak memory of the first delta"]
    assert 0.5 < told["its memory"] / peak < 2
