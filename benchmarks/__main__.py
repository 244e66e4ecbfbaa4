"""`make bench`: measure everything, show it, and fail when a goal is missed."""

import sys

from benchmarks import diff, ingest, reconcile_100k
from benchmarks.results import show

figures = [*diff.measure(), *ingest.measure(), *reconcile_100k.measure()]
show(figures)
sys.exit(not all(figure.ok for figure in figures))
