"""What we want: the fingerprints of our rows, kept from run to run so that only changed rows are mapped anew.

Owns the tables `delta.desired_<object>`: `external_id`, a key a parent, `source_hash` over all that the row is
made of, its `fingerprint`, and `mapped_at`, the moment since which it says so; and `delta.mappings`, which says by which contract they were made.
"""

import duckdb

from lms_crm_assets.contract.canonical import ROLL_UPS
from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.fingerprint import fingerprint, signature
from lms_crm_assets.crm.normal_form import normal_forms
from lms_crm_assets.domain import CrmObject
from lms_crm_assets.warehouse.sql import quoted, sql_file, table_exists


def key_column(parent: CrmObject) -> str:
    """The column with the external id of a row's parent."""
    return f"{parent}_key"


def refresh_desired(con: duckdb.DuckDBPyConnection, spec: ObjectSpec) -> None:
    """Bring `delta.desired_<object>` to the staged rows: only those that changed are mapped anew."""
    table = f"desired_{spec.object}"
    made_by = signature(_fingerprinted(spec, "true"))
    held = con.execute("SELECT signature FROM delta.mappings WHERE object = $1", [spec.object]).fetchall()
    if held != [(made_by,)] or not table_exists(con, "delta", table):
        con.execute(f"CREATE OR REPLACE TABLE delta.{table} AS {_fingerprinted(spec, 'true')}")
        con.execute("DELETE FROM delta.mappings WHERE object = $1", [spec.object])
        con.execute("INSERT INTO delta.mappings VALUES ($1, $2)", [spec.object, made_by])
        return
    if con.execute(f"SELECT ({_sums(_source(spec))}) = ({_sums(f'FROM delta.{table}')})").fetchall() == [(True,)]:
        return
    con.execute(
        "CREATE OR REPLACE TEMP TABLE changed AS SELECT s.source_hash AS fresh, k.rowid AS stale"
        f" FROM ({_source(spec)}) s FULL JOIN delta.{table} k USING (source_hash)"
        " WHERE s.source_hash IS NULL OR k.source_hash IS NULL"
    )
    con.execute(f"DELETE FROM delta.{table} WHERE rowid IN (SELECT stale FROM changed WHERE stale IS NOT NULL)")
    fresh = "source_hash IN (SELECT fresh FROM changed)"
    con.execute(f"INSERT INTO delta.{table} {_fingerprinted(spec, fresh)}")
    con.execute("DROP TABLE changed")


def desired_rows(spec: ObjectSpec, keys: str) -> str:
    """SQL of our rows with these external ids (an SQL query of them): key, fields in normal form, parents' keys."""
    parents = "".join(f", {quoted(key_column(parent))}" for parent in spec.parents)
    return f"SELECT external_id, {normal_forms(spec.fields)}{parents} FROM ({_mapped(spec, f'source_id IN ({keys})')})"


def _sums(rows: str) -> str:
    """What tells whether any row changed, at a tenth of a join's cost."""
    return f"SELECT {{'n': count(*), 's': sum(source_hash), 'x': bit_xor(source_hash)}} FROM ({rows})"


def _fingerprinted(spec: ObjectSpec, rows: str) -> str:
    parents = "".join(f", {quoted(key_column(parent))}" for parent in spec.parents)
    return (
        f"SELECT external_id{parents}, source_hash, {fingerprint(spec)} AS fingerprint, now() AS mapped_at"
        f" FROM ({_mapped(spec, rows)})"
    )


def _mapped(spec: ObjectSpec, rows: str) -> str:
    """Some of our rows as the contract maps them: a column a CRM field. Expressions see the canonical columns alone."""
    fields = "".join(f", {field.expression} AS {quoted(name)}" for name, field in spec.fields.items())
    parents = "".join(f", {parent} AS {quoted(key_column(parent))}" for parent in spec.parents)
    return f"SELECT source_id AS external_id{fields}{parents}, source_hash FROM ({_source(spec)}) WHERE {rows}"


def _source(spec: ObjectSpec) -> str:
    """Our rows: canonical columns, parents' keys, and `source_hash` over all that the row is made of."""
    rolled_up = any(not field.columns.isdisjoint(ROLL_UPS) for field in spec.fields.values())
    name = f"{spec.object}_progress" if rolled_up and spec.object is CrmObject.CONTACT else spec.object.value
    return sql_file("lms_crm_assets.delta", f"sql/{name}.sql")
