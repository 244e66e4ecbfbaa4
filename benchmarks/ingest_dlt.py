"""The same pages read with dlt into DuckDB, as its documentation shows a source; run by the peers' own Python.

`python ingest_dlt.py ANSWER FOLDER ADDRESS` writes what it took, as `benchmarks.ingest` does.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import httpx


def enrollments(address: str) -> Iterator[Any]:
    """The rows of the listing, a page at a time."""
    cursor = None
    with httpx.Client(base_url=address) as http:
        while True:
            page = http.get("/api/v1/enrollments", params={"cursor": cursor} if cursor else {}).json()
            yield page["items"]
            if (cursor := page["next"]) is None:
                return


def main() -> None:
    """One pull."""
    answer, folder, address = sys.argv[1:]
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    started = time.monotonic()
    pipeline = dlt.pipeline(
        "pages", pipelines_dir=folder, destination=dlt.destinations.duckdb(f"{folder}/dlt.duckdb"), dataset_name="raw"
    )
    pipeline.run(
        dlt.resource(enrollments(address), name="enrollments", primary_key="id", write_disposition="replace"),
    )
    with pipeline.sql_client() as client:
        ((rows,),) = client.execute_sql("SELECT count(*) FROM enrollments")
    found = {
        "seconds": time.monotonic() - started,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "rows": rows,
    }
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
