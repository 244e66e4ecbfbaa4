"""Commands of a document, run as they are written there by a person's shell."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lms_crm_assets.settings import Settings
from tests.e2e.warm_commands import CLIENT

ROOT = Path(__file__).parent.parent.parent

Shell = Callable[..., "subprocess.CompletedProcess[str]"]

_BLOCK = re.compile(r"(?:<!-- exit (\d+) -->\n)?```sh\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block: `exit_code` of its last command; `n` counts the blocks under its heading."""

    heading: str
    n: int
    text: str
    exit_code: int


def blocks(document: str) -> Iterator[Block]:
    """Those of a page below `docs/`, or of `README.md` above it, in their order."""
    for section in re.split(
        r"^#+ ",
        (ROOT / ("" if document == "README.md" else "docs") / document).read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )[1:]:
        heading = section.partition("\n")[0]
        for n, (code, text) in enumerate(_BLOCK.findall(section)):
            yield Block(heading, n, text, int(code or 0))


@contextmanager
def shell(folder: Path, settings: Settings) -> Iterator[Shell]:
    """Runs text as a person's shell would, with `lms-crm` and `python` in the PATH."""
    programs, backups, here = folder / "bin", folder / "backups", folder / "here"
    for each in (programs, backups, here):
        each.mkdir()
    command, door = programs / "lms-crm", folder / "door"
    command.write_text(CLIENT.format(python=sys.executable, socket=str(door)), encoding="utf-8")
    command.chmod(0o755)
    interpreter = programs / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    interpreter.chmod(0o755)
    shutil.copy(ROOT / "requirements.lock", here)
    environ = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "BACKUPS": str(backups), "COLUMNS": "140"}
    environ["LMS_CRM_STATE_DIR"] = str(settings.state_dir)

    def run(text: str, **changes: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=here,
            env={**environ, **changes},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    with subprocess.Popen([sys.executable, "-m", "tests.e2e.warm_commands", str(door)], cwd=ROOT) as warm:
        try:
            while not door.exists():
                assert warm.poll() is None
                time.sleep(0.05)
            yield run
        finally:
            warm.kill()
