-- 'Completed' is Yes, No (begun) or empty (no completion record yet). Times are given to the minute.
SELECT
    learner_id || ':' || course_id AS source_id,
    learner_id,
    course_id,
    CASE completed WHEN 'Yes' THEN 'completed' WHEN 'No' THEN 'in_progress' WHEN '' THEN 'not_started' ELSE completed
    END AS state,
    rtrim(progress, '%') AS progress_pct,
    completed_at,
    CASE WHEN completed_at <> '' THEN 'minute' END AS completed_at_precision,
    observed_at
FROM participant('raw_lms.completions', $timezone)
