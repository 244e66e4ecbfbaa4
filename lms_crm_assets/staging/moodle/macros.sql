-- Rows of a raw table that tell of somebody in a course, with learner and course resolved. A payload is a row of the
-- participants report, `columns`, or names its fields, from core services. Report columns by position: 1 ID number,
-- 2 Username, 3 Email address, 4 Course ID number, 5 Plugin, 6 Method, 7 Status, 8 Time created, 9 Time started,
-- 10 Time ended, 11 Role, 12 Completed, 13 Time completed, 14 Student progress, 15 Grade.
--
-- What was read last about somebody in a course counts: older rows, of enrolment methods that are no more, don't. A row
-- that was read `alone` says nothing about other rows; a deleted one does.
--
-- A username or a number that two have, and a course without a number, name nobody: such rows keep ids that don't exist,
-- each of its own where there is no number, and are refused by the check.
CREATE OR REPLACE TEMP MACRO member(raw_table) AS TABLE
WITH learner AS (
    SELECT (payload->>'username') AS username, any_value(source_id) AS learner_id
    FROM raw_lms.learners WHERE NOT is_deleted AND (payload->>'username') <> '' GROUP BY 1 HAVING count(*) = 1
), course AS (
    SELECT (payload->>'idnumber') AS number, any_value(source_id) AS course_id
    FROM raw_lms.courses WHERE NOT is_deleted AND (payload->>'idnumber') <> '' GROUP BY 1 HAVING count(*) = 1
), cell AS (
    SELECT source_id, is_deleted, observed_at, payload, json_transform(payload, '{
        "columns": ["VARCHAR"], "alone": "BOOLEAN", "userid": "VARCHAR", "courseid": "VARCHAR"}') AS r
    FROM query_table(raw_table)
), keyed AS (
    SELECT
        coalesce(r.userid, learner.learner_id, 'username=' || r.columns[2]) AS learner_id,
        coalesce(
            r.courseid, course.course_id, 'idnumber=' || NULLIF(r.columns[4], ''),
            'idnumber= row ' || left(md5(source_id), 12)) AS course_id,
        r.columns AS c,
        coalesce(r.alone, false) AS alone,
        is_deleted,
        observed_at,
        payload
    FROM cell
    LEFT JOIN learner ON learner.username = r.columns[2]
    LEFT JOIN course ON course.number = r.columns[4]
), known AS (
    SELECT *, max(observed_at) FILTER (NOT alone) OVER (PARTITION BY learner_id, course_id) AS whole_at
    FROM keyed
)
SELECT learner_id, course_id, c, payload, observed_at
FROM known
WHERE NOT is_deleted AND observed_at >= coalesce(whole_at, observed_at);

-- The participants report: local times made absolute, one row for somebody in a course.
CREATE OR REPLACE TEMP MACRO participant(raw_table, zone) AS TABLE
WITH moment AS (
    -- A time that can't be read stays as it is, so that the check can show it.
    SELECT *, list_transform([c[8], c[9], c[10], c[13]], lambda t: coalesce(
        timezone(zone, try_strptime(t, '%A, %-d %B %Y, %I:%M %p'))::VARCHAR, t)) AS t
    FROM member(raw_table) WHERE c IS NOT NULL
)
SELECT
    learner_id,
    course_id,
    c[7] AS status,
    c[11] AS role,
    t[1] AS created_at,
    t[2] AS started_at,
    t[3] AS ended_at,
    c[12] AS completed,
    t[4] AS completed_at,
    c[14] AS progress,
    c[15] AS grade,
    observed_at
FROM moment
-- Somebody enrolled by two methods has two rows: the most active one counts. A status that is unknown comes before all,
-- so that the check can show it.
QUALIFY row_number() OVER (
    PARTITION BY learner_id, course_id
    ORDER BY coalesce(list_position(['Active', 'Not current', 'Suspended'], c[7]), 0), c[11], t, c::VARCHAR) = 1;

-- Epoch seconds as a moment; null for 0 and for what is no number.
CREATE OR REPLACE TEMP MACRO at_epoch(seconds) AS
    CASE WHEN TRY_CAST(seconds AS BIGINT) > 0 THEN TRY(to_timestamp(TRY_CAST(seconds AS BIGINT)))::VARCHAR END;

-- What a cell of HTML shows.
CREATE OR REPLACE TEMP MACRO shown(cell) AS trim(regexp_replace(cell, '<[^>]*>', '', 'g'));

-- The number in a text that is a number, with a point or a comma, and perhaps a percent sign.
CREATE OR REPLACE TEMP MACRO number_in(said) AS
    replace(NULLIF(regexp_extract(said, '^\s*(-?\d+([.,]\d+)?)\s*%?\s*$', 1), ''), ',', '.');
