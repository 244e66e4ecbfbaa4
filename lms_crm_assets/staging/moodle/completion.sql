-- By report: 'Completed' is Yes, No (begun) or empty (no completion record yet); times are given to the minute.
-- Core services give no time of the course but one of each criterion: of a course that asks for all of them (1) it is
-- the last one, of a course that asks for any (2) the first. Begun is who met a criterion or was ever in the course.
SELECT
    learner_id || ':' || course_id AS source_id,
    learner_id,
    course_id,
    CASE completed WHEN 'Yes' THEN 'completed' WHEN 'No' THEN 'in_progress' WHEN '' THEN 'not_started' ELSE completed
    END AS state,
    rtrim(progress, '%') AS progress_pct,
    completed_at,
    CASE WHEN completed_at <> '' THEN 'minute' END AS completed_at_precision,
    observed_at
FROM participant('raw_lms.completions', $timezone)
UNION ALL BY NAME
SELECT
    learner_id || ':' || course_id AS source_id,
    learner_id,
    course_id,
    CASE
        WHEN s.completed THEN 'completed'
        WHEN len(met) > 0 OR r.lastcourseaccess > 0 THEN 'in_progress'
        ELSE 'not_started'
    END AS state,
    CASE WHEN s.completed THEN at_epoch(met_at) END AS completed_at,
    CASE WHEN s.completed THEN CASE WHEN met_at > 0 THEN 'derived' ELSE 'unknown' END END AS completed_at_precision,
    observed_at
FROM (
    SELECT *, CASE s.aggregation WHEN 1 THEN list_max(times) WHEN 2 THEN list_min(times) END AS met_at
    FROM (
        SELECT *, list_filter(list_transform(met, lambda k: k.timecompleted), lambda t: t > 0) AS times
        FROM (
            SELECT *, r.completionstatus AS s, list_filter(r.completionstatus.completions, lambda k: k.complete) AS met
            FROM (
                SELECT learner_id, course_id, observed_at, json_transform(payload, '{
                    "lastcourseaccess": "BIGINT", "completionstatus": {"completed": "BOOLEAN", "aggregation": "INTEGER",
                    "completions": [{"complete": "BOOLEAN", "timecompleted": "BIGINT"}]}}') AS r
                FROM member('raw_lms.completions') WHERE c IS NULL
            )
        )
    )
)
