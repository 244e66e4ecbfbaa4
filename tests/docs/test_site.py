"""The documents hold together: every link and anchor leads somewhere, and every page is where readers look for it."""

import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from benchmarks import page
from benchmarks.results import RESULTS

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *PAGES]

_PARSER = MarkdownIt("commonmark").enable("table")


@cache
def tokens(document: Path) -> tuple[Token, ...]:
    found = _PARSER.parse(document.read_text(encoding="utf-8"))
    return tuple(part for token in found for part in (token, *(token.children or ())))


@cache
def anchors(document: Path) -> frozenset[str]:
    """As code hosts and the site make them of headings."""
    given: list[str] = []
    parsed = _PARSER.parse(document.read_text(encoding="utf-8"))
    for opening, inline in pairwise(parsed):
        if opening.type == "heading_open":
            said = "".join(part.content for part in inline.children or () if part.type in {"text", "code_inline"})
            slug = re.sub(r"[^\w\- ]", "", said.strip().lower()).replace(" ", "-")
            given.append(f"{slug}-{given.count(slug)}" if slug in given else slug)
    return frozenset(given)


def links(document: Path) -> Iterator[str]:
    for token in tokens(document):
        target = token.attrs.get("href", token.attrs.get("src"))
        if isinstance(target, str) and not re.match(r"\w+:", target):
            yield target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda each: each.name)
def test_every_link_leads_to_a_file_of_the_repository_and_every_anchor_to_a_heading(document: Path) -> None:
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.is_relative_to(ROOT), link
        # The site has no page for a folder.
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_contents_of_the_site_and_in_those_for_a_code_host() -> None:
    contents = re.findall(
        r"```\{toctree\}\n:hidden:\n:caption: (.+)\n\n((?:[\w <>-]+\n)+)```",
        (DOCS / "index.md").read_text(encoding="utf-8"),
    )
    site = [
        (caption, line.rpartition("<")[2].rstrip(">")) for caption, lines in contents for line in lines.splitlines()
    ]
    host = []
    for part in (DOCS / "README.md").read_text(encoding="utf-8").split("\n## ")[1:]:
        caption, _, body = part.partition("\n")
        host += [(caption, name) for name in re.findall(r"^- \[[^]]+\]\(([\w-]+)\.md\)", body, re.MULTILINE)]

    assert host == site
    assert sorted(name for _, name in site) == sorted({each.stem for each in PAGES} - {"README", "index"})


def test_the_site_loads_nothing_from_elsewhere_by_its_pages() -> None:
    for document in DOCUMENTS:
        for token in tokens(document):
            assert not re.match(r"\w+:", str(token.attrs.get("src", ""))), document.name
            if token.type in {"html_block", "html_inline"}:
                assert not re.search(r"src=.?\w+:|<(script|link|iframe)", token.content), document.name


def test_the_benchmarks_page_shows_the_kept_figures() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.text(json.loads(RESULTS.read_text(encoding="utf-8")))
