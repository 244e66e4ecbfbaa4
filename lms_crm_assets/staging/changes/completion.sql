SELECT
    r.id AS source_id,
    r.learner_id,
    r.course_id,
    r.state,
    r.progress_pct,
    r.completed_at,
    CASE WHEN r.completed_at IS NOT NULL THEN 'exact' END AS completed_at_precision,
    r.updated_at AS source_updated_at,
    payload,
    observed_at
FROM (
    SELECT payload, observed_at, json_transform(payload, '{
        "id": "VARCHAR",
        "learner_id": "VARCHAR", "course_id": "VARCHAR", "state": "VARCHAR", "progress_pct": "VARCHAR",
        "completed_at": "VARCHAR", "updated_at": "VARCHAR"}') AS r
    FROM raw_lms.completions WHERE NOT is_deleted
)
