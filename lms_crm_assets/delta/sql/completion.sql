-- The completion carries the newest course-level score of its learner and course; `extra` is of the completion alone.
SELECT
    c.source_id,
    c.state,
    c.progress_pct,
    c.completed_at,
    c.completed_at_precision,
    s.raw AS score,
    s.max AS score_max,
    coalesce(s.pct, CASE WHEN s.max > 0 THEN s.raw * 100 / s.max END) AS score_pct,
    s.passed,
    c.extra,
    c.learner_id AS contact,
    c.course_id AS course,
    hash(c.row_hash, s.row_hash) AS source_hash
FROM staging.completion c
LEFT JOIN (
    SELECT * FROM staging.score WHERE item_type = 'course'
    QUALIFY row_number() OVER (PARTITION BY learner_id, course_id ORDER BY graded_at DESC NULLS LAST, source_id) = 1
) s ON s.learner_id = c.learner_id AND s.course_id = c.course_id
