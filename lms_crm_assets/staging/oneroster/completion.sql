-- OneRoster knows no completions.
SELECT
    NULL::VARCHAR AS source_id,
    NULL::VARCHAR AS learner_id,
    NULL::VARCHAR AS course_id,
    NULL::VARCHAR AS state,
    now() AS observed_at
WHERE false
