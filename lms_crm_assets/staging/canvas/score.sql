-- Of a course the score that stands in its gradebook, in percent: the one that a teacher set in its place, else
-- 'current_score', in which what isn't graded yet doesn't count. Of an activity the points. Both may pass their maximum by
-- extra credit; then there is none to check them against.
SELECT
    r.user_id || ':' || r.course_id || ':' || coalesce(r.assignment_id, 'course') AS source_id,
    r.user_id AS learner_id,
    r.course_id,
    coalesce(r.assignment_id, 'course') AS item_id,
    CASE WHEN r.assignment_id IS NULL THEN 'course' ELSE 'activity' END AS item_type,
    raw,
    CASE WHEN TRY_CAST(raw AS DOUBLE) <= TRY_CAST(most AS DOUBLE) THEN most END AS max,
    CASE WHEN r.assignment_id IS NULL THEN raw ELSE percent_of(raw, most) END AS pct,
    CASE WHEN r.assignment_id IS NULL
        THEN coalesce(r.grades.override_grade, r.grades.current_grade) ELSE r.grade END AS text,
    CASE WHEN r.assignment.grading_type = 'pass_fail' AND r.grade IN ('complete', 'incomplete')
        THEN (r.grade = 'complete')::VARCHAR END AS passed,
    r.graded_at,
    r.graded_at AS source_updated_at,
    payload,
    observed_at
FROM (
    SELECT
        payload,
        observed_at,
        r,
        CASE WHEN r.assignment_id IS NULL
            THEN coalesce(r.grades.override_score, r.grades.current_score) ELSE r.score END AS raw,
        CASE WHEN r.assignment_id IS NULL THEN '100' ELSE r.assignment.points_possible END AS most
    FROM (
        SELECT payload, observed_at, json_transform(payload, '{
            "user_id": "VARCHAR", "course_id": "VARCHAR", "assignment_id": "VARCHAR", "score": "VARCHAR",
            "grade": "VARCHAR", "graded_at": "VARCHAR",
            "grades": {
                "override_score": "VARCHAR", "override_grade": "VARCHAR", "current_score": "VARCHAR",
                "current_grade": "VARCHAR"},
            "assignment": {"points_possible": "VARCHAR", "grading_type": "VARCHAR"}}') AS r
        FROM raw_lms.scores WHERE NOT is_deleted
    )
)
