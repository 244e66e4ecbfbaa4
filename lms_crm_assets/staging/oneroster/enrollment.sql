-- Dates are all that tells an enrollment's state. The day of `endDate` is the first one that is no longer part of it.
SELECT
    source_id,
    learner_id,
    course_id,
    role,
    CASE
        WHEN status <> 'active' THEN status
        WHEN TRY_CAST(starts_at AS TIMESTAMPTZ) > observed_at THEN 'invited'
        WHEN TRY_CAST(ends_at AS TIMESTAMPTZ) <= observed_at THEN 'expired'
        ELSE status
    END AS status,
    starts_at,
    ends_at,
    source_updated_at,
    payload,
    observed_at
FROM (
    SELECT
        r.sourcedId AS source_id,
        r.user.sourcedId AS learner_id,
        r.class.sourcedId AS course_id,
        r.role,
        r.status,
        start_of_day(r.beginDate, $timezone) AS starts_at,
        start_of_day(r.endDate, $timezone) AS ends_at,
        r.dateLastModified AS source_updated_at,
        payload,
        observed_at
    FROM (
        SELECT payload, observed_at, json_transform(payload, '{
            "sourcedId": "VARCHAR",
            "user": {"sourcedId": "VARCHAR", "href": "VARCHAR", "type": "VARCHAR"},
            "class": {"sourcedId": "VARCHAR", "href": "VARCHAR", "type": "VARCHAR"},
            "role": "VARCHAR", "status": "VARCHAR", "beginDate": "VARCHAR", "endDate": "VARCHAR",
            "dateLastModified": "VARCHAR"}') AS r
        FROM raw_lms.enrollments WHERE NOT is_deleted
    )
)
