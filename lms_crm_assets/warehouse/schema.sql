-- The tables with a fixed shape. Staging, snapshot and delta tables are made by their layers.
CREATE SCHEMA IF NOT EXISTS raw_lms;
CREATE SCHEMA IF NOT EXISTS discovery;
CREATE SCHEMA IF NOT EXISTS staging;
CREATE SCHEMA IF NOT EXISTS crm_snapshot;
CREATE SCHEMA IF NOT EXISTS delta;
CREATE SCHEMA IF NOT EXISTS sync;

CREATE TABLE IF NOT EXISTS raw_lms.cursors (stream VARCHAR, cursor VARCHAR, saved_at TIMESTAMPTZ);

-- The entities of the last full pull that lost more rows than is believed.
CREATE TABLE IF NOT EXISTS raw_lms.doubted (
    entity VARCHAR, rows_before BIGINT, rows_now BIGINT, allowed DOUBLE, doubted_at TIMESTAMPTZ
);

-- What the CRM said of each mapped object, the last time of each day: `told` is a `crm.discovery.CrmSchema`, NULL where the
-- CRM has no such object. `asked`: the CRM's address, the object and its parents.
CREATE TABLE IF NOT EXISTS discovery.crm_schema (
    day DATE, object VARCHAR, asked VARCHAR, discovered_at TIMESTAMPTZ, told JSON
);
-- What a person accepted of it, or was discovered first.
CREATE TABLE IF NOT EXISTS discovery.crm_baseline (object VARCHAR, asked VARCHAR, accepted_at TIMESTAMPTZ, told JSON);
-- What another tenant's CRM, production say, said of the same objects when it was compared last; `trouble`: why it wasn't.
CREATE TABLE IF NOT EXISTS discovery.compared (
    tenant VARCHAR, object VARCHAR, compared_at TIMESTAMPTZ, told JSON, trouble VARCHAR
);
-- The attributes of the LMS's records, as of a sample, the last time of each day; and what was accepted of them.
CREATE TABLE IF NOT EXISTS discovery.lms_shape (
    day DATE, entity VARCHAR, asked VARCHAR, observed_at TIMESTAMPTZ, told JSON
);
CREATE TABLE IF NOT EXISTS discovery.lms_baseline (entity VARCHAR, asked VARCHAR, accepted_at TIMESTAMPTZ, told JSON);

-- The rows that broke a rule and are refused until they are mended. `row`: the canonical columns as they were read.
-- `attempts`: how often the LMS gave the row, and it was refused for this. `observed_at`: when it gave it last.
-- `state_before`: its status or state as it was valid last.
CREATE TABLE IF NOT EXISTS staging.quarantine (
    entity VARCHAR,
    source_id VARCHAR,
    code VARCHAR,
    rule VARCHAR,
    "column" VARCHAR,
    "value" VARCHAR,
    first_seen_at TIMESTAMPTZ,
    last_seen_at TIMESTAMPTZ,
    attempts INTEGER,
    observed_at TIMESTAMPTZ,
    "row" JSON,
    state_before VARCHAR
);
-- Of a warehouse that was made before there were these columns.
ALTER TABLE staging.quarantine ADD COLUMN IF NOT EXISTS attempts INTEGER;
ALTER TABLE staging.quarantine ADD COLUMN IF NOT EXISTS observed_at TIMESTAMPTZ;
ALTER TABLE staging.quarantine ADD COLUMN IF NOT EXISTS "row" JSON;
ALTER TABLE staging.quarantine ADD COLUMN IF NOT EXISTS state_before VARCHAR;

-- The same of rows that passed with a warning.
CREATE TABLE IF NOT EXISTS staging.warnings AS FROM staging.quarantine LIMIT 0;

-- The counts of each table as it was built last, and how many rows broke each rule: several may have one id, or none.
CREATE TABLE IF NOT EXISTS staging.builds (entity VARCHAR, in_lms BIGINT, valid BIGINT, warned BIGINT, cut_extra BIGINT);
CREATE TABLE IF NOT EXISTS staging.broken (
    entity VARCHAR, code VARCHAR, rule VARCHAR, "column" VARCHAR, severity VARCHAR, "rows" BIGINT
);

-- How many rows broke each rule at the end of each day (in UTC).
CREATE TABLE IF NOT EXISTS staging.invalid_days (
    day DATE,
    entity VARCHAR,
    code VARCHAR,
    rule VARCHAR,
    severity VARCHAR,
    "rows" BIGINT
);

-- The feed of canonical rows: each row once, with a new number whenever it changes. `op`: upsert, delete, or refused (it
-- is in quarantine). `feed` tells this feed from one that was begun anew.
CREATE TABLE IF NOT EXISTS staging.changes (
    changed_no BIGINT,
    entity VARCHAR,
    source_id VARCHAR,
    op VARCHAR,
    row_hash UBIGINT,
    changed_at TIMESTAMPTZ
);
CREATE TABLE IF NOT EXISTS staging.feed (feed VARCHAR);

-- When each object was captured last, from where, what its rows' fingerprints depend on, and when its changes were
-- read last.
CREATE TABLE IF NOT EXISTS crm_snapshot.captures (
    object VARCHAR,
    captured_at TIMESTAMPTZ,
    captured_from VARCHAR,
    signature VARCHAR,
    changes_read_at TIMESTAMPTZ
);

-- What the fingerprints of each object's desired rows depend on.
CREATE TABLE IF NOT EXISTS delta.mappings (object VARCHAR, signature VARCHAR);

-- The counts of each object's delta as it was built last.
CREATE TABLE IF NOT EXISTS delta.counts (object VARCHAR, counts JSON);

-- What the CRM, as its schema was discovered, would refuse (codes LMS-3xx). `severity`: error, the record is not sent; warn,
-- it is sent (LMS-306 and 308: without the field). `attempts`: in how many deltas. Of all records, whatever a run was about.
CREATE TABLE IF NOT EXISTS delta.refused (
    object VARCHAR,
    external_id VARCHAR,
    code VARCHAR,
    severity VARCHAR,
    field VARCHAR,
    "value" VARCHAR,
    first_seen_at TIMESTAMPTZ,
    last_seen_at TIMESTAMPTZ,
    attempts INTEGER
);

-- A plan: what a run found to do, kept for time travel. `status`: waiting (for a person), refused (by the guardrails),
-- approved, dry_run (the switch is on), withheld (the canaries failed). `withheld` says why of the last two. `sent` lists the
-- objects that were delivered. `lane`: of a run of events a plan tells of its own records alone.
CREATE TABLE IF NOT EXISTS delta.plans (
    plan_id VARCHAR,
    sync_run_id VARCHAR,
    status VARCHAR,
    created_at TIMESTAMPTZ,
    approved_at TIMESTAMPTZ,
    forecast JSON,
    breaches VARCHAR[],
    sent VARCHAR[],
    lane VARCHAR DEFAULT 'full',
    withheld VARCHAR
);
-- Of a warehouse that was made before there were these columns.
ALTER TABLE delta.plans ADD COLUMN IF NOT EXISTS lane VARCHAR DEFAULT 'full';
ALTER TABLE delta.plans ADD COLUMN IF NOT EXISTS withheld VARCHAR;

CREATE TABLE IF NOT EXISTS delta.plan_rows (
    plan_id VARCHAR,
    object VARCHAR,
    external_id VARCHAR,
    crm_id VARCHAR,
    action VARCHAR,
    class VARCHAR,
    changes STRUCT(field VARCHAR, "old" VARCHAR, "new" VARCHAR, owner VARCHAR, written BOOLEAN, class VARCHAR)[],
    parents MAP(VARCHAR, VARCHAR),
    parents_before MAP(VARCHAR, VARCHAR)
);

-- What was last written, one row a record and object, and since when it says so; `applied` maps CRM field → value in
-- normal form (as JSON, three times as quick to pick some rows from as a MAP).
CREATE TABLE IF NOT EXISTS sync.ledger (
    object VARCHAR,
    external_id VARCHAR,
    crm_id VARCHAR,
    applied JSON,
    sync_run_id VARCHAR,
    synced_at TIMESTAMPTZ
);

-- What the ledger said before, from `synced_at` until `replaced_at`, for the contract's retention.
CREATE TABLE IF NOT EXISTS sync.ledger_history (
    object VARCHAR,
    external_id VARCHAR,
    crm_id VARCHAR,
    applied JSON,
    sync_run_id VARCHAR,
    synced_at TIMESTAMPTZ,
    replaced_at TIMESTAMPTZ
);

-- The records that did not hold what was written when they were read back, until they do or a full run finds them equal.
CREATE TABLE IF NOT EXISTS sync.unconverged (object VARCHAR, external_id VARCHAR);

-- What became of each record of a plan. `operation`: upsert, archive, `link <parent>` or `unlink <parent>`.
CREATE TABLE IF NOT EXISTS sync.outcomes (
    object VARCHAR,
    external_id VARCHAR,
    operation VARCHAR,
    action VARCHAR,
    status VARCHAR,
    crm_id VARCHAR,
    code VARCHAR,
    message VARCHAR,
    batch_id VARCHAR,
    sync_run_id VARCHAR,
    synced_at TIMESTAMPTZ
);

-- The records that the CRM refused when they were last sent, and how often in a row with the same `payload`. `noted_at`:
-- when the warehouse learned of it; in this order nothing comes late.
CREATE TABLE IF NOT EXISTS sync.rejections (
    object VARCHAR,
    external_id VARCHAR,
    operation VARCHAR,
    code VARCHAR,
    message VARCHAR,
    payload VARCHAR,
    attempts INTEGER,
    first_rejected_at TIMESTAMPTZ,
    last_rejected_at TIMESTAMPTZ,
    noted_at TIMESTAMPTZ
);

-- The runs that sent something: which plan, who or what started them (a schedule, events by their delivery ids, a person), and
-- whether links were calls of their own.
CREATE TABLE IF NOT EXISTS sync.runs (
    sync_run_id VARCHAR,
    plan_id VARCHAR,
    started_by VARCHAR,
    events VARCHAR[],
    links_apart BOOLEAN,
    began_at TIMESTAMPTZ
);

-- The planned fields that were not sent after all, since somebody had filled them meanwhile.
CREATE TABLE IF NOT EXISTS sync.unsent (object VARCHAR, external_id VARCHAR, sync_run_id VARCHAR, field VARCHAR);

-- The records of a plan that are sent before the rest, where the switch `canary` is set.
CREATE TABLE IF NOT EXISTS sync.canaries (plan_id VARCHAR, object VARCHAR, external_id VARCHAR);

-- How the canaries of each object fared when they were sent last; `told` has the figures.
CREATE TABLE IF NOT EXISTS sync.trials (object VARCHAR, plan_id VARCHAR, passed BOOLEAN, told VARCHAR, ended_at TIMESTAMPTZ);

-- The objects whose ledger came from a backup and is older than the CRM, until the first delta after it, see delta.restored.
CREATE TABLE IF NOT EXISTS sync.restored (object VARCHAR, restored_at TIMESTAMPTZ);
