-- A course is what people are enrolled in, which is a class. What a class doesn't say its course does; the adapter added
-- that to the reference.
SELECT
    r.sourcedId AS source_id,
    coalesce(NULLIF(trim(r.classCode), ''), r.course.courseCode) AS code,
    coalesce(NULLIF(trim(r.title), ''), r.course.title) AS title,
    r.dateLastModified AS source_updated_at,
    payload,
    observed_at
FROM (
    SELECT payload, observed_at, json_transform(payload, '{
        "sourcedId": "VARCHAR",
        "classCode": "VARCHAR", "title": "VARCHAR", "status": "VARCHAR", "dateLastModified": "VARCHAR",
        "course": {"courseCode": "VARCHAR", "title": "VARCHAR", "href": "VARCHAR", "type": "VARCHAR"}}') AS r
    FROM raw_lms.courses WHERE NOT is_deleted
)
