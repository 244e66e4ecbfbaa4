-- Whether a course is published is told of its product alone, and courses have no dates.
SELECT
    r.id AS source_id,
    r.slug AS code,
    r.name AS title,
    payload,
    observed_at
FROM (
    SELECT payload, observed_at, json_transform(payload, '{"id": "VARCHAR", "slug": "VARCHAR", "name": "VARCHAR"}') AS r
    FROM raw_lms.courses WHERE NOT is_deleted
)
