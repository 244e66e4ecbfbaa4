"""The environment of the peers that are measured beside us: their packages clash with ours."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("dlt[duckdb]==1.31.0", "httpx==0.28.1")
_FOLDER = ROOT / ".lms-crm" / "peers"


def python() -> Path:
    """The Python of that environment, made at the first use."""
    found = _FOLDER / "bin" / "python"
    ready = _FOLDER / ".ready"
    if not (ready.exists() and ready.read_text(encoding="utf-8") == repr(PACKAGES)):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_FOLDER)], check=True)
        install = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        subprocess.run(install, check=True)
        ready.write_text(repr(PACKAGES), encoding="utf-8")
    return found
