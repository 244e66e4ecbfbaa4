"""A Moodle for tests: the simulator behind a door at which single functions can be answered otherwise."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import duckdb
import httpx

from lms_crm_assets.checks.rules import rules_for
from lms_crm_assets.contract.checks import ChecksPolicy
from lms_crm_assets.contract.models import LmsThrottle, MoodleSource
from lms_crm_assets.domain import LmsEntity, RawRecord
from lms_crm_assets.lms.landing import land, load
from lms_crm_assets.lms.moodle import MoodleAdapter
from lms_crm_assets.lms.protocol import Page
from lms_crm_assets.ops.store import OperationalStore
from lms_crm_assets.staging.build import build_staging
from tests.conftest import empty_store

RECORDINGS = Path(__file__).parent.parent / "recordings" / "moodle"
REPORTS = {"participants": 1, "users": 2, "competencies": 3}
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ALL = list(LmsEntity)

Parameters = dict[str, str]
Answer = Callable[[Parameters], Any]
"""JSON-able content, or bytes of a whole body, or a status with a body."""


def recorded(name: str) -> Any:
    """A recording's content; of a recorded page of text what follows its first line."""
    if name.endswith(".txt"):
        return (RECORDINGS / name).read_bytes().partition(b"\n")[2]
    return json.loads((RECORDINGS / f"{name}.json").read_text())


@dataclass
class Door:
    """Passes calls on to the simulator that `client` speaks to, but for the functions in `answers`; keeps what was asked."""

    client: httpx.Client
    url: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    calls: list[tuple[str, Parameters]] = field(default_factory=list)

    def ask(self, parameters: Parameters) -> Any:
        """The simulator's own answer."""
        return self.client.post("/webservice/rest/server.php", data=parameters).json()

    def asked(self, function: str) -> list[Parameters]:
        """The parameters of the calls of one function."""
        return [parameters for name, parameters in self.calls if name == function]

    def mutate(self, **change: Any) -> dict[str, Any]:
        """Change the simulated site."""
        response = self.client.post("/_sandbox/mutate", json=change)
        assert response.is_success, response.text
        found: dict[str, Any] = response.json()
        return found


@contextmanager
def door_to(behind: str) -> Iterator[Door]:
    """A door that is served from threads."""
    door = Door(httpx.Client(base_url=behind, timeout=60, trust_env=False))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body leave together: apart they wait 40 ms for each other.
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            parameters = dict(parse_qsl(body, keep_blank_values=True))
            function = parameters["wsfunction"]
            door.calls.append((function, parameters))
            answer = door.answers[function](parameters) if function in door.answers else door.ask(parameters)
            status, content = answer if isinstance(answer, tuple) else (200, answer)
            sent = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    door.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield door
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        door.client.close()


@contextmanager
def adapter(door: Door, store: OperationalStore | None = None, **changes: Any) -> Iterator[MoodleAdapter]:
    """The adapter of a source with reports, unless `changes` says otherwise."""
    values = {"adapter": "moodle", "url": door.url, "token": "env:MOODLE", "timezone": "Europe/London"}
    source = MoodleSource.model_validate({**values, "reports": REPORTS, "overlap_seconds": 0, **changes})
    with closing(MoodleAdapter(source, LmsThrottle(), store or empty_store())) as found:
        yield found


def pulled(
    door: Door, entities: Collection[LmsEntity] = ALL, since: datetime | None = None, **changes: Any
) -> list[Page]:
    """All pages of a pull."""
    with adapter(door, **changes) as found:
        return list(found.pull(entities, since))


def fetched(door: Door, entity: LmsEntity, *keys: str, **changes: Any) -> dict[str, RawRecord]:
    """What a fetch gives, by key."""
    with adapter(door, **changes) as found:
        pages = list(found.fetch(entity, keys))
    assert all(page.entity is entity and page.latest is None for page in pages)
    return {record.source_id: record for page in pages for record in page.records}


def records(pages: Collection[Page], entity: LmsEntity) -> dict[str, RawRecord]:
    """The records of one entity, the last of each key."""
    return {record.source_id: record for page in pages if page.entity is entity for record in page.records}


def landed(
    con: duckdb.DuckDBPyConnection, folder: Path, pages: Collection[Page], *, at: datetime = NOW, complete: bool = True
) -> None:
    """Bring the pages into raw_lms."""
    entities = [entity for entity in ALL if any(page.entity is entity for page in pages)]
    found = land(pages, entities, folder / "landing")
    for entity in entities:
        load(con, entity, found, observed_at=at, complete=complete)


def staged(con: duckdb.DuckDBPyConnection, *entities: LmsEntity) -> dict[LmsEntity, dict[str, dict[str, Any]]]:
    """The canonical rows by source id, in the order in which parents come first."""
    found = {}
    for entity in ALL:
        build_staging(con, rules_for(ChecksPolicy(), entity), adapter="moodle", timezone="Europe/London", now=NOW)
        if entity in entities or not entities:
            rows = con.execute(
                f"SELECT * EXCLUDE (observed_at, row_hash, source_updated_at, extra) FROM staging.{entity.staging_table}"
            )
            names = [column[0] for column in rows.description]
            found[entity] = {row[0]: dict(zip(names, row, strict=True)) for row in rows.fetchall()}
    return found


def refused(con: duckdb.DuckDBPyConnection) -> Counter[str]:
    """The quarantine by code."""
    query = "SELECT code, count(*) FROM staging.quarantine GROUP BY ALL"
    return Counter(dict(con.execute(query).fetchall()))


def row_key(cells: list[str]) -> str:
    """The raw key of a row of the participants report: username, course, method, role and when it was created."""
    return ":".join(cells[n] for n in (1, 3, 5, 10, 7))


def filters(parameters: Mapping[str, str]) -> dict[str, Any]:
    """The filters that a call sets."""
    found: dict[str, Any] = json.loads(parameters["values"])
    return found
