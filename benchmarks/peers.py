"""The environment of the peers that are measured beside us: their packages clash with ours, but not with each other.

`make bench-peers` (`python -m benchmarks peers`) makes it in `.lms-crm/peers` and measures everything that stands beside a
peer (`PEERS` in `benchmarks/__main__.py`); `python -m benchmarks diff-peers` one part. A measurement runs a script of its
own in it: `subprocess.run([str(peers.python()), "benchmarks/ingest_dlt.py", …], cwd=peers.ROOT, check=True)`. Such a script
imports the peer and nothing of ours but plain files of `benchmarks/` beside it. `peers.VERSIONS[name]` goes into what it prints.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
VERSIONS = {
    "datacompy": "1.1.0",
    "dlt": "1.31.0",
    "drt-core": "1.2.1",
    # Ours, so that what works on it is no slower or faster for its release; what else the peers need they choose.
    "duckdb": "1.5.5",
    "httpx": "0.28.1",
    # The newest that datacompy takes.
    "pandas": "3.0.6",
    "pyarrow": "26.0.1",
    "reladiff": "0.6.0",
}
PACKAGES = tuple(f"{name}=={version}" for name, version in VERSIONS.items())
_FOLDER = ROOT / ".lms-crm" / "peers"


def python() -> Path:
    """The Python of that environment, made at the first use and anew when a version changes."""
    found = _FOLDER / "bin" / "python"
    ready = _FOLDER / ".ready"
    if not (ready.exists() and ready.read_text(encoding="utf-8") == repr(PACKAGES)):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_FOLDER)], check=True)
        install = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        subprocess.run(install, check=True)
        ready.write_text(repr(PACKAGES), encoding="utf-8")
    return found
