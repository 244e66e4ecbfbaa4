-- One row for a learner, a course and a type: somebody in two sections, or who was moved to another one, has several
-- enrollments in Canvas, and the most active one counts. So the key is made of those three and outlives a move.
-- 'completed' is a concluded enrollment: its time is over, whatever was achieved. Canvas keeps the deleted enrollments
-- of deleted people; they belong to nobody.
WITH kept AS (
    SELECT payload, observed_at, json_transform(payload, '{
        "id": "VARCHAR", "user_id": "VARCHAR", "course_id": "VARCHAR", "type": "VARCHAR", "enrollment_state": "VARCHAR",
        "created_at": "VARCHAR", "start_at": "VARCHAR", "end_at": "VARCHAR", "updated_at": "VARCHAR"}') AS r
    FROM raw_lms.enrollments WHERE NOT is_deleted
), worded AS (
    SELECT
        payload,
        observed_at,
        r,
        CASE r.type
            WHEN 'StudentEnrollment' THEN 'student'
            WHEN 'TeacherEnrollment' THEN 'teacher'
            WHEN 'TaEnrollment' THEN 'ta'
            WHEN 'DesignerEnrollment' THEN 'designer'
            WHEN 'ObserverEnrollment' THEN 'observer'
            ELSE r.type
        END AS role,
        CASE r.enrollment_state
            WHEN 'active' THEN 'active'
            WHEN 'invited' THEN 'invited'
            WHEN 'creation_pending' THEN 'invited'
            WHEN 'inactive' THEN 'suspended'
            WHEN 'completed' THEN 'expired'
            WHEN 'deleted' THEN 'withdrawn'
            WHEN 'rejected' THEN 'withdrawn'
            ELSE r.enrollment_state
        END AS status
    FROM kept
)
SELECT
    coalesce(r.user_id || ':' || r.course_id || ':' || role, r.id) AS source_id,
    r.user_id AS learner_id,
    r.course_id,
    role,
    status,
    r.created_at AS enrolled_at,
    r.start_at AS starts_at,
    r.end_at AS ends_at,
    r.updated_at AS source_updated_at,
    payload,
    observed_at
FROM worded
WHERE status IS DISTINCT FROM 'withdrawn'
    OR r.user_id IN (SELECT source_id FROM raw_lms.learners WHERE NOT is_deleted)
-- A word that isn't known comes first, so that the check shows it.
QUALIFY row_number() OVER (
    PARTITION BY coalesce(r.user_id || ':' || r.course_id || ':' || role, r.id, payload::VARCHAR)
    ORDER BY coalesce(list_position(['active', 'invited', 'suspended', 'expired', 'withdrawn'], status), 0),
        r.updated_at DESC NULLS LAST, TRY_CAST(r.id AS BIGINT) DESC NULLS LAST) = 1
