"""`make bench`: measure everything, show it, and fail when a goal is missed."""

import sys

from benchmarks import reconcile_100k
from benchmarks.results import show

figures = [*reconcile_100k.measure()]
show(figures)
sys.exit(not all(figure.ok for figure in figures))
