-- One that is not active yet has no 'activated_at', or one to come. A completed one stays active as long as it isn't
-- expired: what was achieved is told by the completion. Who is taken out of a course is given an expiry date.
SELECT
    r.id AS source_id,
    r.user_id AS learner_id,
    r.course_id,
    'student' AS role,
    CASE
        WHEN r.expired = 'true' THEN 'expired'
        WHEN r.expired IS NOT NULL AND r.expired <> 'false' THEN r.expired
        WHEN r.activated_at IS NULL OR TRY_CAST(r.activated_at AS TIMESTAMPTZ) > observed_at THEN 'invited'
        ELSE 'active'
    END AS status,
    coalesce(r.created_at, r.activated_at) AS enrolled_at,
    r.activated_at AS starts_at,
    r.expiry_date AS ends_at,
    r.updated_at AS source_updated_at,
    payload,
    observed_at
FROM (
    SELECT payload, observed_at, json_transform(payload, '{
        "id": "VARCHAR", "user_id": "VARCHAR", "course_id": "VARCHAR", "expired": "VARCHAR", "created_at": "VARCHAR",
        "activated_at": "VARCHAR", "expiry_date": "VARCHAR", "updated_at": "VARCHAR"}') AS r
    FROM raw_lms.enrollments WHERE NOT is_deleted
)
