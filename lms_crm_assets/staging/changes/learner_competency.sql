SELECT
    r.id AS source_id,
    r.learner_id,
    r.course_id,
    r.competency.code,
    r.competency.name,
    r.competency.framework,
    r.rating,
    r.proficient,
    r.rated_at,
    r.updated_at AS source_updated_at,
    payload,
    observed_at
FROM (
    SELECT payload, observed_at, json_transform(payload, '{
        "id": "VARCHAR",
        "learner_id": "VARCHAR", "course_id": "VARCHAR",
        "competency": {"code": "VARCHAR", "name": "VARCHAR", "framework": "VARCHAR"},
        "rating": "VARCHAR", "proficient": "VARCHAR", "rated_at": "VARCHAR", "updated_at": "VARCHAR"}') AS r
    FROM raw_lms.competencies WHERE NOT is_deleted
)
