"""The calls that docs/least-privilege.md grants rights for, read from its tables."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

DOCUMENT = Path(__file__).parent.parent / "docs" / "least-privilege.md"


def documented_calls(system: str) -> list[str]:
    """The `METHOD path` of a system's section; `{…}` stands for one part of a path."""
    text = DOCUMENT.read_text(encoding="utf-8")
    section = re.split(rf"^## {re.escape(system)}\n", text, flags=re.MULTILINE)[1].split("\n## ")[0]
    return re.findall(r"^\| `((?:GET|POST|PATCH|PUT|DELETE) [^`]+)`", section, re.MULTILINE)


def unlisted(requests: Mapping[str, Mapping[str, int]], documented: Iterable[str]) -> list[str]:
    """The requests, by `METHOD route`, that no documented call matches; asking for the head of `/` needs no right."""
    shapes = [re.compile(re.sub(r"\\\{.*?\\\}", "[^/]+", re.escape(call))) for call in documented]
    return sorted(
        route
        for route in requests
        if not route.startswith("HEAD ") and not any(shape.fullmatch(route) for shape in shapes)
    )
