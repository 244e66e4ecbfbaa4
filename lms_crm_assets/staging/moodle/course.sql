-- Dates are epoch seconds, 0 for none. The course with the format 'site' is the site's front page, not a course.
SELECT
    source_id,
    r.idnumber AS external_id,
    r.shortname AS code,
    r.fullname AS title,
    r.visible,
    CASE WHEN r.startdate > 0 THEN TRY(to_timestamp(r.startdate))::VARCHAR END AS starts_at,
    CASE WHEN r.enddate > 0 THEN TRY(to_timestamp(r.enddate))::VARCHAR END AS ends_at,
    payload,
    observed_at
FROM (
    SELECT source_id, payload, observed_at, json_transform(payload, '{
        "idnumber": "VARCHAR", "shortname": "VARCHAR", "fullname": "VARCHAR", "visible": "VARCHAR",
        "startdate": "BIGINT", "enddate": "BIGINT", "format": "VARCHAR"}') AS r
    FROM raw_lms.courses WHERE NOT is_deleted
)
WHERE r.format IS DISTINCT FROM 'site'
