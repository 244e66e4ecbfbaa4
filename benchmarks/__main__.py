"""`make bench`: measure everything, show it, and fail when a goal is missed. `python -m benchmarks ingest` measures one part.

`make bench-peers`, or `python -m benchmarks peers`: what is measured beside other products, in an environment of their own.
"""

import sys

from benchmarks import (
    backup,
    delivery,
    delivery_drt,
    diff,
    diff_peers,
    ingest,
    memory,
    nightly,
    reconcile_100k,
    run_cost,
    state,
    validation,
)
from benchmarks.results import show

PARTS = {
    "backup": backup.measure,
    "delivery": delivery.measure,
    "diff": diff.measure,
    "memory": memory.measure,
    "nightly": nightly.measure,
    "reconcile": reconcile_100k.measure,
    "run_cost": run_cost.measure,
    "state": state.measure,
    "validation": validation.measure,
}
# What needs the environment of `benchmarks.peers`, which takes minutes to make.
PEERS = {
    "delivery-drt": delivery_drt.measure,
    "diff-peers": diff_peers.measure,
    "ingest": ingest.measure,
}

every = PARTS | PEERS
asked = sys.argv[1:] or list(PARTS)
names = [name for word in asked for name in (PEERS if word == "peers" else (word,))]
if unknown := sorted(set(names) - set(every)):
    sys.exit(
        f"there is no benchmark {', '.join(unknown)}; there are {', '.join(sorted(every))}, and peers for those beside others"
    )
figures = [figure for name in names for figure in every[name]()]
show(figures)
sys.exit(not all(figure.ok for figure in figures))
