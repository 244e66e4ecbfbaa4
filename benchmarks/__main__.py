"""`make bench`: measure everything, show it, and fail when a goal is missed. `python -m benchmarks ingest` measures one part."""

import sys

from benchmarks import backup, diff, ingest, reconcile_100k, validation
from benchmarks.results import show

PARTS = {
    "backup": backup.measure,
    "diff": diff.measure,
    "ingest": ingest.measure,
    "reconcile": reconcile_100k.measure,
    "validation": validation.measure,
}

figures = [figure for name in sys.argv[1:] or PARTS for figure in PARTS[name]()]
show(figures)
sys.exit(not all(figure.ok for figure in figures))
