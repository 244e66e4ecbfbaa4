-- The participants report as it lies in a raw table: keys resolved, local times made absolute. Columns by position:
-- 1 ID number, 2 Username, 3 Email address, 4 Course ID number, 5 Plugin, 6 Method, 7 Status, 8 Time created,
-- 9 Time started, 10 Time ended, 11 Role, 12 Completed, 13 Time completed, 14 Student progress, 15 Grade.
CREATE OR REPLACE TEMP MACRO participant(raw_table, zone) AS TABLE
WITH learner AS (
    SELECT (payload->>'username') AS username, any_value(source_id) AS learner_id
    FROM raw_lms.learners WHERE NOT is_deleted GROUP BY ALL
), course AS (
    SELECT (payload->>'idnumber') AS number, any_value(source_id) AS course_id
    FROM raw_lms.courses WHERE NOT is_deleted AND (payload->>'idnumber') IS NOT NULL GROUP BY ALL
), cell AS (
    SELECT observed_at, json_transform(payload, '{"columns": ["VARCHAR"]}').columns AS c
    FROM query_table(raw_table) WHERE NOT is_deleted
), moment AS (
    -- A time that can't be read stays as it is, so that the check can show it.
    SELECT observed_at, c, list_transform([c[8], c[9], c[10], c[13]], lambda t: coalesce(
        timezone(zone, try_strptime(t, '%A, %-d %B %Y, %I:%M %p'))::VARCHAR, t)) AS t
    FROM cell
)
SELECT
    coalesce(learner.learner_id, 'username=' || c[2]) AS learner_id,
    coalesce(course.course_id, 'idnumber=' || c[4]) AS course_id,
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
LEFT JOIN learner ON learner.username = c[2]
LEFT JOIN course ON course.number = c[4]
-- Somebody enrolled by two methods has two rows: the most active one counts.
QUALIFY row_number() OVER (
    PARTITION BY c[2], c[4] ORDER BY list_position(['Active', 'Not current', 'Suspended'], c[7])) = 1
