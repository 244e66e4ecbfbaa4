-- Completed are all requirements of the course's modules. Who is to meet none has nothing to complete. The moment is that
-- of the last completed module.
SELECT
    r.user_id || ':' || r.course_id AS source_id,
    r.user_id AS learner_id,
    r.course_id,
    CASE
        WHEN r.progress.completed_at IS NOT NULL THEN 'completed'
        WHEN TRY_CAST(r.progress.requirement_completed_count AS BIGINT)
            >= TRY_CAST(r.progress.requirement_count AS BIGINT) THEN 'completed'
        WHEN TRY_CAST(r.progress.requirement_completed_count AS BIGINT) > 0 THEN 'in_progress'
        WHEN TRY_CAST(r.progress.requirement_completed_count AS BIGINT) = 0 THEN 'not_started'
    END AS state,
    coalesce(
        percent_of(r.progress.requirement_completed_count, r.progress.requirement_count),
        r.progress.requirement_completed_count
    ) AS progress_pct,
    r.progress.completed_at AS completed_at,
    CASE
        WHEN r.progress.completed_at IS NOT NULL THEN 'exact'
        WHEN TRY_CAST(r.progress.requirement_completed_count AS BIGINT)
            >= TRY_CAST(r.progress.requirement_count AS BIGINT) THEN 'unknown'
    END AS completed_at_precision,
    payload,
    observed_at
FROM (
    SELECT payload, observed_at, json_transform(payload, '{
        "user_id": "VARCHAR", "course_id": "VARCHAR",
        "progress": {
            "requirement_count": "VARCHAR", "requirement_completed_count": "VARCHAR", "completed_at": "VARCHAR"}}') AS r
    FROM raw_lms.completions WHERE NOT is_deleted
)
WHERE TRY_CAST(r.progress.requirement_count AS BIGINT) IS DISTINCT FROM 0
