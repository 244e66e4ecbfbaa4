"""A pull in a process that may be killed: `python -m tests.lms.contract.one_pull PROTOCOL ADDRESS FOLDER`.

It prints a line when it begins to load; each statement by which the warehouse is written takes a while, so that a kill
strikes between and within them.
"""

import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lms_crm_assets.lms.landing import _save_cursor, load
from lms_crm_assets.ops.store import OperationalStore
from tests.lms.contract.protocols import PROTOCOLS
from tests.lms.contract.warehouse import Warehouse


def _slow_load(*given: Any, **named: Any) -> None:
    sys.stdout.write("loading\n")
    sys.stdout.flush()
    load(*given, **named)
    time.sleep(0.1)


def _slow_cursor(*given: Any) -> None:
    """Between an entity's rows and its cursor, and between both and the end of the transaction."""
    time.sleep(0.1)
    _save_cursor(*given)
    time.sleep(0.1)


def main() -> None:
    """Pull everything."""
    protocol, address, folder = PROTOCOLS[sys.argv[1]], sys.argv[2], Path(sys.argv[3])
    adapter = protocol.adapter(address, OperationalStore(folder / "ops"))
    with (
        patch("lms_crm_assets.lms.ingest.load", _slow_load),
        patch("lms_crm_assets.lms.landing._save_cursor", _slow_cursor),
    ):
        Warehouse(folder, protocol.entities).pull(adapter, max_shrink_share=1.0)
    adapter.close()


if __name__ == "__main__":
    main()
