SELECT
    r.id AS source_id,
    r.learner_id,
    r.course_id,
    r.role,
    r.status,
    r.enrolled_at,
    r.starts_at,
    r.ends_at,
    r.updated_at AS source_updated_at,
    payload,
    observed_at
FROM (
    SELECT payload, observed_at, json_transform(payload, '{
        "id": "VARCHAR",
        "learner_id": "VARCHAR", "course_id": "VARCHAR", "role": "VARCHAR", "status": "VARCHAR",
        "enrolled_at": "VARCHAR", "starts_at": "VARCHAR", "ends_at": "VARCHAR", "updated_at": "VARCHAR"}') AS r
    FROM raw_lms.enrollments WHERE NOT is_deleted
)
