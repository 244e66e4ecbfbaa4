"""The documentation site: `make docs` builds it from the Markdown beside this file, which reads as well without it."""

import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent

project = "lms_crm_assets"
html_title = "lms_crm_assets"
extensions = ["myst_parser"]
exclude_patterns = ["README.md"]
nitpicky = True

# Anchors as code hosts make them, so that a link to a heading works on both.
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]

html_theme = "furo"
html_theme_options = {"sidebar_hide_name": False}
# Read from the disk, without a network: no source to fetch, nothing that others host.
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False

_FROM_THE_ROOT = {"start": "README.md", "changelog": "CHANGELOG.md"}
_LINK = re.compile(r"\]\((?!\w+:|#)([^)]+)\)")


def _from_the_root(docs: str) -> str:
    """A page at the root as if it stood in docs/: its links lead to the same places."""
    return _LINK.sub(lambda link: f"]({_seen_from_docs(link[1])})", docs)


def _seen_from_docs(target: str) -> str:
    return target.removeprefix("docs/") if target.startswith("docs/") else f"../{target}"


def _read(app: Sphinx, page: str, content: list[str]) -> None:
    """What stands at the root of the repository, where a code host shows it, is a page of the site too."""
    if page in _FROM_THE_ROOT:
        file = ROOT / _FROM_THE_ROOT[page]
        app.env.note_dependency(file)
        content[0] = _from_the_root(file.read_text(encoding="utf-8"))
    for name, there in {"../README.md": "start.md", "../CHANGELOG.md": "changelog.md", "README.md": "index.md"}.items():
        content[0] = content[0].replace(f"]({name}", f"]({there}")


def setup(app: Sphinx) -> None:
    """What Sphinx calls."""
    app.connect("source-read", _read)
