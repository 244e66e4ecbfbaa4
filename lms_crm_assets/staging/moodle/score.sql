-- The report's Grade is the course total.
SELECT
    learner_id || ':' || course_id || ':course' AS source_id,
    learner_id,
    course_id,
    'course' AS item_id,
    'course' AS item_type,
    grade AS raw,
    observed_at
FROM participant('raw_lms.scores', $timezone)
WHERE grade <> ''
