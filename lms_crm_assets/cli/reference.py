"""`docs/commands.md`, made from the commands themselves: `python -m lms_crm_assets.cli.reference`.

The text is Typer's own (`typer … utils docs`), without what is for a terminal.
"""

import html
import re
from pathlib import Path

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

from lms_crm_assets.cli.app import app

FILE = Path(__file__).parent.parent.parent / "docs" / "commands.md"

_HEAD = """# Commands

Every command with all its arguments and options, as `--help` tells them. What they are for is in the [README](../README.md#commands),
with the exit codes; what they read from the environment in [settings](settings.md). This page is made from the code:
`python -m lms_crm_assets.cli.reference`.

"""
_BOLD = re.compile(r"\[bold\](.*?)\[/bold\]", re.DOTALL)
_SHORTENED = re.compile(r"\*\*Commands\*\*:\n\n(?:\* .*\n)+\n")


def commands_text() -> str:
    """The whole page."""
    command = get_command(app)
    told = get_docs_for_click(obj=command, ctx=typer.Context(command), name="lms-crm")
    # A group's list of commands cuts their texts, which follow.
    told = html.unescape(_SHORTENED.sub("", _BOLD.sub(r"`\1`", told)))
    return _HEAD + told[told.index("## `lms-crm ") :].rstrip() + "\n"


if __name__ == "__main__":
    FILE.write_text(commands_text(), encoding="utf-8")
