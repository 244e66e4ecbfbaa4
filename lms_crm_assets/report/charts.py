"""The trend's charts: SVG with no script, style or colour of its own; the page's style sheet gives it both.

Drawn by pygal, which takes a quarter of matplotlib's time to load (0.2 s of CPU against 0.8 s, on a busy machine) and to draw:
a run pays for it. What pygal adds for browsers, a script and a style sheet, is taken off.
"""

import sys
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pygal
from pygal.etree import etree

from lms_crm_assets.report.history import TrendPoint

# For plug-ins with maps it hooks into all later imports, in a way that Python 3.11 warns of and 3.12 has no more.
sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]

_WIDTH, _HEIGHT = 320, 150
_STEPS = 3
# What only a browser's script makes use of.
_OVERLAYS = {"titles", "plot overlay", "plot text-overlay", "plot tooltip-overlay"}


def bars(points: Sequence[TrendPoint], figure: str, title: str) -> str:
    """One figure of each run as a bar, the oldest first; whoever points at a bar is told its run and number."""
    values = [int(getattr(point, figure)) for point in points]
    days = [f"{point.ended_at:%d %b}".lstrip("0") for point in points]
    chart = pygal.Bar(
        width=_WIDTH,
        height=_HEIGHT,
        css=[],
        js=[],
        no_prefix=True,
        show_legend=False,
        margin=8,
        x_labels=[days[0], *[""] * (len(days) - 2), days[-1]],
        y_labels=_scale(max(values)),
        truncate_label=-1,
        value_formatter=lambda number: f"{number:,.0f}",
    )
    chart.add(title, values)
    tree = chart.render_tree()
    told = [f"{point.ended_at:%d %b %Y, %H:%M} UTC: {value:,}" for point, value in zip(points, values, strict=True)]
    _plain(tree, told)
    tree.set("role", "img")
    tree.set("aria-label", f"{title} in each of {len(values)} runs: {', '.join(map(str, values))}")
    return str(etree.tostring(tree, encoding="unicode"))


def _plain(tree: Any, told: Sequence[str]) -> None:
    """Take off what is for a browser's script, and give each bar its text."""
    for parent in list(tree.iter()):
        for child in list(parent):
            # A comment's tag is a function.
            superfluous = not isinstance(child.tag, str) or child.tag in {"defs", "desc", "title", "script"}
            if superfluous or child.get("class") in _OVERLAYS:
                parent.remove(child)
    drawn = [each for each in tree.iter() if each.get("class") == "bar"]
    for bar, text in zip(drawn, told, strict=True):
        etree.SubElement(bar, "title").text = text


def _scale(most: int) -> list[int]:
    """A few round numbers, from nothing to at least as much."""
    steps = chain.from_iterable((10**e, 2 * 10**e, 5 * 10**e) for e in range(19))
    step = next(step for step in steps if step * _STEPS >= most)
    return [step * number for number in range(_STEPS + 1)]
