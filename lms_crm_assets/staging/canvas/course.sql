-- A course without dates of its own has those of its term. A concluded course ('completed') is still to be seen.
SELECT
    source_id,
    r.sis_course_id AS external_id,
    r.course_code AS code,
    r.name AS title,
    CASE
        WHEN r.workflow_state IN ('available', 'completed') THEN 'true'
        WHEN r.workflow_state IN ('unpublished', 'created', 'claimed') THEN 'false'
        ELSE r.workflow_state
    END AS visible,
    coalesce(r.start_at, r.term.start_at) AS starts_at,
    coalesce(r.end_at, r.term.end_at) AS ends_at,
    payload,
    observed_at
FROM (
    SELECT source_id, payload, observed_at, json_transform(payload, '{
        "sis_course_id": "VARCHAR", "course_code": "VARCHAR", "name": "VARCHAR", "workflow_state": "VARCHAR",
        "start_at": "VARCHAR", "end_at": "VARCHAR", "term": {"start_at": "VARCHAR", "end_at": "VARCHAR"}}') AS r
    FROM raw_lms.courses WHERE NOT is_deleted
)
