"""docs/benchmarks.md, made of the kept figures: `python -m benchmarks.page`; each measurement makes it anew."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers import VERSIONS

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
_OURS = ("dagster", "duckdb", "httpx", "pandera", "polars", "pydantic")

_HEAD = """# Benchmarks

<!-- Generated: python -m benchmarks.page -->

What was measured last, each figure beside the goal that it has to stay at or under. `make bench` measures most of them
anew, `make bench-peers` those beside other products, `python -m benchmarks diff` (or another part) some; those of the receiver have
[commands of their own](receiver.md#how-it-is-measured), as have [those of many tenants](scale.md#a-day-of-many-tenants). A missed goal is exit code 1, and stays in the table as missed.

The machine: two cores, 24 GiB, Debian 12, Python 3.11. Where others used it meanwhile, times are rather too long than too short.
Ours: {ours}. Peers: {peers}. What each figure is measured against, and how, stands at the head of its
file in `benchmarks/`.

| what | measured | goal | |
|---|---|---|---|
"""


def text(figures: Sequence[Mapping[str, Any]]) -> str:
    """The page; `figures` are those of results.json."""
    rows = [
        f"| {figure['name']} | {_number(figure['value'])} {figure['unit']} | {_number(figure['goal'])} {figure['unit']}"
        f" | {'met' if figure['ok'] else '**missed**'} |\n"
        for figure in figures
    ]
    peers = ", ".join(f"{name} {version}" for name, version in VERSIONS.items())
    return _HEAD.format(ours=_locked(), peers=peers) + "".join(rows)


def _locked() -> str:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    found = dict(re.findall(r"^([a-z0-9-]+)(?:\[[^\]]*\])?==([\w.]+)", lock, re.MULTILINE))
    return ", ".join(f"{name} {found[name]}" for name in _OURS)


def _number(value: float) -> str:
    """Two decimals at most, none of large numbers."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:,.2f}".rstrip("0").rstrip(".")


if __name__ == "__main__":
    from benchmarks.results import RESULTS

    PAGE.write_text(text(json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")
