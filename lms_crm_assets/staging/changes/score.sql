SELECT
    r.id AS source_id,
    r.learner_id,
    r.course_id,
    r.item_id,
    r.item_type,
    r.raw,
    r.min,
    r.max,
    r.pct,
    r.text,
    r.passed,
    r.graded_at,
    r.updated_at AS source_updated_at,
    payload,
    observed_at
FROM (
    SELECT payload, observed_at, json_transform(payload, '{
        "id": "VARCHAR",
        "learner_id": "VARCHAR", "course_id": "VARCHAR", "item_id": "VARCHAR", "item_type": "VARCHAR",
        "raw": "VARCHAR", "min": "VARCHAR", "max": "VARCHAR", "pct": "VARCHAR", "text": "VARCHAR", "passed": "VARCHAR", "graded_at": "VARCHAR",
        "updated_at": "VARCHAR"}') AS r
    FROM raw_lms.scores WHERE NOT is_deleted
)
