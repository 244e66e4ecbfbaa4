-- The enrollment again. Who was enrolled in a course more than once counts with what got furthest.
SELECT
    coalesce(r.user_id || ':' || r.course_id, r.id) AS source_id,
    r.user_id AS learner_id,
    r.course_id,
    CASE
        WHEN r.completed = 'true' THEN 'completed'
        WHEN r.completed IS NOT NULL AND r.completed <> 'false' THEN r.completed
        WHEN r.started_at IS NOT NULL OR TRY_CAST(r.percentage_completed AS DOUBLE) > 0 THEN 'in_progress'
        ELSE 'not_started'
    END AS state,
    percent(r.percentage_completed) AS progress_pct,
    CASE WHEN r.completed = 'true' THEN r.completed_at END AS completed_at,
    CASE WHEN r.completed = 'true' THEN CASE WHEN r.completed_at IS NULL THEN 'unknown' ELSE 'exact' END END
        AS completed_at_precision,
    r.updated_at AS source_updated_at,
    payload,
    observed_at
FROM (
    SELECT payload, observed_at, json_transform(payload, '{
        "id": "VARCHAR", "user_id": "VARCHAR", "course_id": "VARCHAR", "completed": "VARCHAR", "started_at": "VARCHAR",
        "percentage_completed": "VARCHAR", "completed_at": "VARCHAR", "updated_at": "VARCHAR"}') AS r
    FROM raw_lms.completions WHERE NOT is_deleted
)
QUALIFY row_number() OVER (
    PARTITION BY coalesce(r.user_id || ':' || r.course_id, r.id, payload::VARCHAR)
    ORDER BY r.completed = 'true' DESC NULLS LAST, TRY_CAST(r.percentage_completed AS DOUBLE) DESC NULLS LAST,
        TRY_CAST(r.id AS BIGINT) DESC NULLS LAST) = 1
