"""A row's fingerprint: a number that two rows share when their keys and all their mapped fields agree in normal form.

Normal form costs some five times the reading of a row, so each row is brought to it once, when it arrives, and its
fingerprint is kept beside it: a comparison then joins numbers (facts: performance). Kept fingerprints hold only as long
as `signature` does, since the contract or DuckDB's `hash` may change.
"""

import hashlib

import duckdb

from lms_crm_assets.contract.spec import ObjectSpec
from lms_crm_assets.crm.normal_form import normal_form
from lms_crm_assets.warehouse.sql import quoted


def fingerprint(spec: ObjectSpec) -> str:
    """SQL of the fingerprint of a row with `external_id` and a column of any type for each CRM field."""
    return f"hash({', '.join(['external_id', *(normal_form(quoted(name), f) for name, f in spec.fields.items())])})"


def signature(*sql: str) -> str:
    """What kept fingerprints depend on: the SQL that made them and the release of DuckDB that ran it."""
    return hashlib.sha256("\n".join([duckdb.__version__, *sql]).encode()).hexdigest()
