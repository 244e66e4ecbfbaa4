-- Moodle has no stable id of an enrolment: learner and course make it. 'Not current' is before its start or past its end.
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
