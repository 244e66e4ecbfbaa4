-- Moodle has no stable id of an enrolment: learner and course make it.
-- By report, 'Not current' is before its start or past its end. Core services tell only that somebody is not active,
-- which is suspended, expired or not begun: it is `suspended` here, and its dates are unknown.
SELECT
    learner_id || ':' || course_id AS source_id,
    learner_id,
    course_id,
    lower(role) AS role,
    CASE status
        WHEN 'Active' THEN 'active'
        WHEN 'Suspended' THEN 'suspended'
        WHEN 'Not current' THEN
            CASE WHEN TRY_CAST(started_at AS TIMESTAMPTZ) > observed_at THEN 'invited' ELSE 'expired' END
        ELSE status
    END AS status,
    created_at AS enrolled_at,
    started_at AS starts_at,
    ended_at AS ends_at,
    observed_at
FROM participant('raw_lms.enrollments', $timezone)
UNION ALL BY NAME
SELECT
    learner_id || ':' || course_id AS source_id,
    learner_id,
    course_id,
    lower(coalesce(NULLIF(r.roles[1].name, ''), r.roles[1].shortname)) AS role,
    CASE r.active WHEN 'true' THEN 'active' WHEN 'false' THEN 'suspended' ELSE r.active END AS status,
    observed_at
FROM (
    SELECT learner_id, course_id, observed_at, json_transform(payload, '{
        "active": "VARCHAR", "roles": [{"name": "VARCHAR", "shortname": "VARCHAR"}]}') AS r
    FROM member('raw_lms.enrollments') WHERE c IS NULL
)
