"""Who is to be forgotten: the learner that an id, an e-mail address, a username or an external id names, and their rows."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import duckdb
import orjson

from lms_crm_assets.contract.models import Contract
from lms_crm_assets.contract.spec import object_spec
from lms_crm_assets.domain import CrmObject, LmsEntity, RawRecord
from lms_crm_assets.errors import FatalError
from lms_crm_assets.lms.forgotten import people_of
from lms_crm_assets.ops.suppression import NAME, Marks
from lms_crm_assets.snapshot.capture import parent_column
from lms_crm_assets.warehouse.sql import table_exists

# What the systems call a learner's names, in raw payloads and in the quarantine's rows.
_NAME_MEMBERS = ("email", "username", "login_id", "external_id", "sis_user_id", "idnumber")
_FETCHED_ROWS = 1000
_LEARNERS, _CHILDREN = (
    LmsEntity.LEARNERS,
    tuple(e for e in LmsEntity if e not in {LmsEntity.LEARNERS, LmsEntity.COURSES}),
)


@dataclass(frozen=True)
class Person:
    """One learner: the LMS's id, and in small letters what else they are called.

    `keys` are their rows by entity, the learner's own among them, under canonical ids and those of raw_lms. `crm_ids` are
    their records in the CRM.
    """

    learner: str
    names: frozenset[str] = field(repr=False)
    keys: Mapping[LmsEntity, frozenset[str]] = field(default_factory=dict, repr=False)
    crm_ids: Mapping[CrmObject, frozenset[str]] = field(default_factory=dict, repr=False)

    def is_named(self, kind: str, value: str) -> bool:
        """Whether a value of a row, as `people_of` tells it, is this learner's."""
        if kind == NAME:
            return value.strip().casefold() in self.names
        return kind == _LEARNERS and value == self.learner

    def marks(self) -> Iterator[tuple[str, str]]:
        """What is kept of them, hashed, so that they don't come back."""
        if self.learner:
            yield _LEARNERS.value, self.learner
        yield from ((NAME, name) for name in sorted(self.names))
        yield from ((entity.value, key) for entity, keys in self.keys.items() for key in sorted(keys))

    def words(self) -> list[bytes]:
        """What tells them in a text, in small letters: names of four characters at least, and the id as a JSON text."""
        long_names = [name.encode() for name in sorted(self.names) if len(name) >= 4]  # noqa: PLR2004 - as above
        return [*long_names, orjson.dumps(self.learner.lower())] if self.learner else long_names


def find_person(con: duckdb.DuckDBPyConnection, contract: Contract, text: str, marks: Marks) -> Person:
    """The learner whom the text names, from all that the warehouse knows of.

    Of somebody who was forgotten already nothing is known but the text. `FatalError` when nobody or several fit.
    """
    ids = _ids(con, text)
    if len(ids) > 1 and text in ids:
        ids = {text}
    if len(ids) > 1:
        raise FatalError(f"several learners fit: {', '.join(sorted(ids))}; name one by the LMS's id")
    if ids:
        [learner] = ids
        names = _names(con, contract, learner)
        keys = _keys(con, learner, names)
        keys = _with_linked(con, contract, keys)
        return Person(learner, names, keys, _crm_ids(con, contract, keys))
    if marks.hold(_LEARNERS, text):
        return Person(text, frozenset(), {_LEARNERS: frozenset({text})})
    if marks.hold(NAME, text):
        return Person("", frozenset({text.strip().casefold()}))
    raise FatalError("nothing is known of a learner with that id, e-mail address, username or external id")


def _ids(con: duckdb.DuckDBPyConnection, text: str) -> set[str]:
    """The ids of learners that the text names, wherever the warehouse has any."""
    named = " OR ".join(f"lower({{0}}->>'{name}') = lower($1)" for name in _NAME_MEMBERS)
    refused = "entity = 'learners' AND (source_id = $1 OR {})".format(named.format('"row"'))
    queries = {
        ("raw_lms", "learners"): f"source_id = $1 OR {named.format('payload')}",
        ("staging", "learner"): "source_id = $1 OR lower(email) = lower($1) OR lower(username) = lower($1)"
        " OR lower(external_id) = lower($1)",
        ("staging", "quarantine"): refused,
        ("staging", "warnings"): refused,
    }
    found: set[str] = set()
    for (schema, table), where in queries.items():
        if table_exists(con, schema, table):
            query = f"SELECT DISTINCT source_id FROM {schema}.{table} WHERE source_id IS NOT NULL AND ({where})"
            found |= {row[0] for row in con.execute(query, [text]).fetchall()}
    for table in ("sync.ledger", "sync.ledger_history", "sync.outcomes", "sync.rejections", "delta.plan_rows"):
        query = f"SELECT DISTINCT external_id FROM {table} WHERE object = 'contact' AND external_id = $1"
        found |= {row[0] for row in con.execute(query, [text]).fetchall()}
    return found


def _names(con: duckdb.DuckDBPyConnection, contract: Contract, learner: str) -> frozenset[str]:
    """What they are called, and were: also what was written to the CRM as their address or username."""
    found: set[str | None] = set()
    members = ", ".join(f"{{0}}->>'{name}'" for name in _NAME_MEMBERS)
    for schema, table, column, where in (
        ("raw_lms", "learners", "payload", "true"),
        ("staging", "quarantine", '"row"', "entity = 'learners'"),
        ("staging", "warnings", '"row"', "entity = 'learners'"),
    ):
        if table_exists(con, schema, table):
            query = f"SELECT {members.format(column)} FROM {schema}.{table} WHERE source_id = $1 AND {where}"
            found.update(value for row in con.execute(query, [learner]).fetchall() for value in row)
    if table_exists(con, "staging", "learner"):
        query = "SELECT email, username, external_id FROM staging.learner WHERE source_id = $1"
        found.update(value for row in con.execute(query, [learner]).fetchall() for value in row)
    if CrmObject.CONTACT in contract.objects:
        fields = object_spec(contract, CrmObject.CONTACT).fields.items()
        telling = [name for name, spec in fields if spec.columns & {"email", "username", "external_id"}]
        for table in ("sync.ledger", "sync.ledger_history"):
            query = f"SELECT applied FROM {table} WHERE object = 'contact' AND external_id = $1"
            for (applied,) in con.execute(query, [learner]).fetchall():
                found.update(orjson.loads(applied).get(name) for name in telling)
    return frozenset(str(name).strip().casefold() for name in found if name and str(name).strip())


def _keys(con: duckdb.DuckDBPyConnection, learner: str, names: frozenset[str]) -> dict[LmsEntity, frozenset[str]]:
    found: defaultdict[LmsEntity, set[str]] = defaultdict(set, {_LEARNERS: {learner}})
    for entity in _CHILDREN:
        if table_exists(con, "staging", entity.staging_table):
            query = f"SELECT source_id FROM staging.{entity.staging_table} WHERE learner_id = $1"
            found[entity].update(row[0] for row in con.execute(query, [learner]).fetchall())
        for table in ("quarantine", "warnings"):
            query = (
                f"SELECT source_id FROM staging.{table} WHERE entity = $2 AND source_id IS NOT NULL"
                " AND (\"row\"->>'learner_id') = $1"
            )
            found[entity].update(row[0] for row in con.execute(query, [learner, entity]).fetchall())
        found[entity].update(key for _, key in raw_rows(con, entity, Person(learner, names)))
    for obj in CrmObject:
        if obj.entity not in _CHILDREN:
            continue
        query = "SELECT DISTINCT external_id FROM delta.plan_rows WHERE object = $2 AND parents['contact'] = $1"
        found[obj.entity].update(row[0] for row in con.execute(query, [learner, obj]).fetchall())
        if table_exists(con, "delta", f"desired_{obj}"):
            columns = {row[0] for row in con.execute(f"DESCRIBE delta.desired_{obj}").fetchall()}
            if "contact_key" in columns:
                query = f"SELECT external_id FROM delta.desired_{obj} WHERE contact_key = $1"
                found[obj.entity].update(row[0] for row in con.execute(query, [learner]).fetchall())
    return {entity: frozenset(keys) for entity, keys in found.items() if keys}


def _with_linked(
    con: duckdb.DuckDBPyConnection, contract: Contract, keys: dict[LmsEntity, frozenset[str]]
) -> dict[LmsEntity, frozenset[str]]:
    """The keys, and those of records that the CRM has linked to theirs: of rows that the LMS has no more nothing else tells.

    Whose the LMS's rows are the rows say: a link that somebody set in the CRM makes them nobody else's.
    """
    contacts = sorted(_crm_ids(con, contract, keys).get(CrmObject.CONTACT, ()))
    column, found = parent_column(CrmObject.CONTACT), dict(keys)
    for obj in contract.in_order():
        entity = obj.entity
        if entity not in _CHILDREN or not table_exists(con, "crm_snapshot", obj):
            continue
        if column in {row[0] for row in con.execute(f"DESCRIBE crm_snapshot.{obj}").fetchall()}:
            known = [f"SELECT source_id FROM staging.{table} WHERE entity = $2" for table in ("quarantine", "warnings")]
            if table_exists(con, "staging", entity.staging_table):
                known.append(f"SELECT source_id FROM staging.{entity.staging_table}")
            rows = con.execute(
                f"SELECT external_id FROM crm_snapshot.{obj} WHERE {column} IN (SELECT unnest($1::VARCHAR[]))"
                f" AND external_id NOT IN (SELECT source_id FROM ({' UNION ALL '.join(known)}) WHERE source_id IS NOT NULL)",
                [contacts, entity],
            ).fetchall()
            found[entity] = found.get(entity, frozenset()) | {row[0] for row in rows}
    return {entity: each for entity, each in found.items() if each}


def raw_rows(con: duckdb.DuckDBPyConnection, entity: LmsEntity, person: Person) -> list[tuple[int, str]]:
    """Row id and key of the raw rows that are the learner's: SQL finds who may be meant, `people_of` judges."""
    if not table_exists(con, "raw_lms", entity):
        return []
    wanted = [word for word in (person.learner.lower(), *person.names) if word]
    con.execute(
        f"SELECT rowid, source_id, payload FROM raw_lms.{entity} WHERE source_id IN (SELECT unnest($2::VARCHAR[]))"
        " OR len(list_filter($1::VARCHAR[], lambda word: contains(lower(payload::VARCHAR), word))) > 0",
        [wanted, sorted(person.keys.get(entity, ()))],
    )
    rows = []
    while page := con.fetchmany(_FETCHED_ROWS):
        for rowid, source_id, payload in page:
            record = RawRecord(source_id, orjson.loads(payload) if payload else None)
            own = source_id in person.keys.get(entity, ())
            if own or any(person.is_named(kind, value) for kind, value in people_of(entity, record)):
                rows.append((rowid, source_id))
    return rows


def _crm_ids(
    con: duckdb.DuckDBPyConnection, contract: Contract, keys: Mapping[LmsEntity, frozenset[str]]
) -> dict[CrmObject, frozenset[str]]:
    found = {}
    for obj in contract.in_order():
        wanted = sorted(keys.get(obj.entity, ()))
        tables = ["sync.ledger", *([f"crm_snapshot.{obj}"] if table_exists(con, "crm_snapshot", obj) else [])]
        ids: set[str] = set()
        for table in tables:
            of = "object = $2" if table == "sync.ledger" else "$2 IS NOT NULL"
            query = f"SELECT crm_id FROM {table} WHERE {of} AND external_id IN (SELECT unnest($1::VARCHAR[]))"
            ids.update(row[0] for row in con.execute(query, [wanted, obj]).fetchall() if row[0])
        found[obj] = frozenset(ids)
    return found
